#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""TCP echo server on asyncio protocols, the fastest style asyncio has."""
import argparse
import asyncio
import os
import signal
import socket


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        transport.max_size = 16 * 1024  # bytes per read; the default allocates 256 KiB for each
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport
        self.data_received = transport.write  # a read goes straight to the write, without a frame between

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def serve(port):
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(serve(parser.parse_args().port))
