"""A small keep-alive HTTP/1.1 client on asyncio streams: one connection, one request at a time."""

import asyncio


class Refused(Exception):
    """No answer: the connection could not be made ("refused"), or ended before the reply was whole ("reset")."""


class Client:
    def __init__(self, host, port):
        self.host, self.port = host, int(port)
        self.reader = self.writer = None
        self.used = False

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None

    async def request(self, method, path, headers=None, body=b""):
        """@return (status, headers with lower-case names, body). Raises Refused. Cancelled by a time-out, it closes the
        connection. A kept connection that was closed before the first byte of a GET's reply counts as stale and is
        replaced once, as every HTTP client does."""
        try:
            for fresh in (False, True):
                reused = self.writer is not None
                try:
                    return await self.exchange(method, path, headers or {}, body)
                except Refused as problem:
                    self.close()
                    if method != "GET" or not reused or fresh or problem.args[0] != "stale":
                        raise Refused("reset" if problem.args[0] == "stale" else problem.args[0]) from None
        except asyncio.CancelledError:
            self.close()
            raise
        raise Refused("reset")

    async def exchange(self, method, path, headers, body):
        try:
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            raise Refused("refused") from None
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        seen = b""
        try:
            self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            seen = await self.reader.read(1)
            if not seen:
                raise Refused("stale")
            head = seen + await self.reader.readuntil(b"\r\n\r\n")
            return await self.reply(head)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            raise Refused("reset" if seen else "stale") from None

    async def reply(self, head):
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await self.chunks()
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
            self.close()
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, headers, body

    async def chunks(self):
        body = b""
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
            if size == 0:
                return body
