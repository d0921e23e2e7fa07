"""Put load on a running gateway and judge it; locust reads this file.

    locust -f client/load/locustfile.py --headless --host http://127.0.0.1:8080 --grpc grpc://127.0.0.1:9090

Name users on the command line to run only those: HttpUser, RpcUser, RpcStreamUser.
"""

import grpc.experimental.gevent as grpc_gevent

# Before the first channel: gRPC's own threads would hold up every greenlet.
grpc_gevent.init_gevent()

import affect_load.locust_events  # noqa: E402, F401 - registers its listeners
from affect_load.http_users import HttpUser  # noqa: E402, F401
from affect_load.rpc_users import RpcStreamUser, RpcUser  # noqa: E402, F401
from affect_load.shape import PlannedShape  # noqa: E402, F401
