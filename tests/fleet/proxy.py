"""A connection between a process and a server that can be slow, can break in mid-reply, and can lead elsewhere after a failover."""

import asyncio
import contextlib
import random
import threading


class Proxy:
    """Listens on a free loopback port and passes on to `port`. Safe to be told things from any thread."""

    def __init__(self, stack, port):
        self.to = port
        #: Replies wait for a random part of so many seconds.
        self.most_delay = 0.0
        self.connections = set()
        self.breaks = []
        self.broken = 0
        self.is_open = True
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = self.run(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        stack.callback(self.close)

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def close(self):
        if self.loop.is_closed():
            return
        self.run(self.end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    async def end(self):
        self.server.close()
        await self.cut_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def break_reply(self, marker, after=0, count=1):
        """Of the next `count` requests with these bytes the reply is cut after so many of its own, and the connection with it."""
        with_after = [(marker, after)] * count
        self.loop.call_soon_threadsafe(self.breaks.extend, with_after)

    def lose_request(self, marker, count=1):
        """The next `count` requests with these bytes never arrive, and their connections break."""
        self.loop.call_soon_threadsafe(self.breaks.extend, [(marker, None)] * count)

    def lead_to(self, port):
        """All connections break; the next ones go to another server."""
        self.to = port
        self.run(self.cut_all())

    def shut(self):
        """Nobody gets through any more."""
        self.is_open = False
        self.run(self.cut_all())

    def open(self):
        self.is_open = True

    async def cut_all(self):
        for writer in list(self.connections):
            writer.transport.abort()

    async def serve(self, reader, writer):
        if not self.is_open:
            writer.transport.abort()
            return
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        link = Link(self, writer, there)
        self.connections |= {writer, there}
        try:
            # Cancelled only when the proxy ends: that is no failure of anybody.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(link.requests(reader), link.replies(there_reader))
        finally:
            self.connections -= {writer, there}
            writer.transport.abort()
            there.transport.abort()


class Link:
    """One connection, both ways."""

    def __init__(self, proxy, here, there):
        self.proxy = proxy
        self.here = here
        self.there = there
        self.cut_after = None

    async def requests(self, reader):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if found := next((each for each in self.proxy.breaks if each[0] in data), None):
                    self.proxy.breaks.remove(found)
                    self.proxy.broken += 1
                    if found[1] is None:
                        self.here.transport.abort()
                        break
                    self.cut_after = found[1]
                self.there.write(data)
                await self.there.drain()
        self.there.transport.abort()

    async def replies(self, reader):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.proxy.most_delay:
                    await asyncio.sleep(random.uniform(0, self.proxy.most_delay))
                if self.cut_after is not None:
                    self.here.write(data[: self.cut_after])
                    await self.here.drain()
                    break
                self.here.write(data)
                await self.here.drain()
        self.here.transport.abort()
