"""What app services are asked and told over HTTP, on behalf of clients.

It knows upstreams, and what can be asked; neither sessions nor sockets.  `signing` and `tracing` make
headers, `bodies` makes and reads JSON, `asked` asks, `notices` tells.
"""
