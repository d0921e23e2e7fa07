"""Present a result to people: the HTML report, its plots, and the table in the terminal."""
