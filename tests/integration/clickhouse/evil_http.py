"""A proxy before a real ClickHouse whose answers cannot be trusted: each INSERT meets a fault with some probability.

Faults come before the server has seen the request, and after it has done it and its answer is lost or spoilt."""
import collections
import random
import socket
import struct
import threading
import time

OK = b"HTTP/1.1 200 OK\r\n"
FAULTS = (
    "refuse",         # connection reset before anything is read
    "eat",            # request read, not passed on, connection closed
    "fake_ok",        # request not passed on, but answered with 200 and no query id
    "fake_other_id",  # the same with the id of another query
    "garbage",        # request not passed on, random bytes
    "error_500",      # request not passed on, a temporary error
    "too_many_parts",  # not passed on, with the server's code 252
    "lost",           # done by the server, answer thrown away
    "half",           # done by the server, half an answer
    "stall",          # done by the server, then silence
    "reset",          # done by the server, then a reset
    "no_length",      # done by the server, 200 without a length, then closed
    "endless_header",  # done by the server, header that does not end
    "exception_200",  # done by the server, 200 with an exception code
    "drip",           # done by the server, answer byte by byte: this one is good
)
FAULTS_DONE = collections.Counter()
TURN, TURN_LOCK = [], threading.Lock()


def read_message(sock):
    """Bytes of one message: header, and a body by Content-Length or chunks. None if the peer has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), None)
    while length is not None and len(body) < length or length is None and not body.endswith(b"0\r\n\r\n"):
        part = sock.recv(1 << 20)
        if not part:
            return None
        body += part
    return head + b"\r\n\r\n" + body


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def instead(fault, rng):
    """What a client gets whose request went nowhere."""
    return {
        "fake_ok": OK + b"Content-Length: 0\r\n\r\n",
        "fake_other_id": OK + b"X-ClickHouse-Query-Id: other\r\nContent-Length: 0\r\n\r\n",
        "garbage": rng.randbytes(3000),
        "error_500": b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
        "too_many_parts": b"HTTP/1.1 500 E\r\nX-ClickHouse-Exception-Code: 252\r\nContent-Length: 1\r\n\r\nx",
    }.get(fault)


def spoilt(fault, answer):
    """What a client gets whose request was done."""
    id_line = next(line for line in answer.split(b"\r\n") if line.lower().startswith(b"x-clickhouse-query-id"))
    return {
        "half": answer[:len(answer) // 2],
        "no_length": OK + id_line + b"\r\n\r\n",
        "endless_header": OK + b"X-Long: " + b"a" * 200000,
        "exception_200": OK + id_line + b"\r\nX-ClickHouse-Exception-Code: 241\r\nContent-Length: 0\r\n\r\n",
    }.get(fault, b"")


def serve_one(client, server_port, rng, fault):
    """Takes one request to its end, good or bad. True if the connection goes on."""
    if fault == "refuse":
        reset(client)
        return False
    request = read_message(client)
    if request is None:
        return False
    fake = instead(fault, rng)
    if fake is not None:
        client.sendall(fake)
    if fake is not None or fault == "eat":
        return False
    with socket.create_connection(("127.0.0.1", server_port)) as server:
        server.sendall(request)
        answer = read_message(server)
    if answer is None:
        return False
    if fault is None:
        client.sendall(answer)
        return True
    if fault == "drip":
        for i in range(0, len(answer), 50):
            client.sendall(answer[i:i + 50])
            time.sleep(0.002)
        return True
    client.sendall(spoilt(fault, answer))
    if fault == "stall":
        time.sleep(3)
    if fault == "reset":
        reset(client)
    return False


def limit(server_port, body_max):
    """Starts a proxy which answers that there is no memory for a larger body; returns its port and a list of such."""
    listener, refused = socket.create_server(("127.0.0.1", 0)), []

    def one(client):
        request = read_message(client)
        if request is None:
            return False
        head, _, body = request.partition(b"\r\n\r\n")
        if len(body) > body_max:
            refused.append(len(body))
            query_id = head.split(b"query_id=")[1].split(b"&")[0].split(b" ")[0]
            client.sendall(b"HTTP/1.1 500 E\r\nX-ClickHouse-Exception-Code: 241\r\nX-ClickHouse-Query-Id: " + query_id +
                           b"\r\nContent-Length: 9\r\n\r\nno memory")
            return True
        with socket.create_connection(("127.0.0.1", server_port)) as server:
            server.sendall(request)
            answer = read_message(server)
        client.sendall(answer or b"")
        return answer is not None

    def serve_all(client):
        try:
            while one(client):
                pass
        except OSError:
            pass
        client.close()

    def accept():
        while True:
            threading.Thread(target=serve_all, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1], refused


def next_fault(rng):
    """Each fault in turn, so that none is left out; in another order every round."""
    with TURN_LOCK:
        if not TURN:
            TURN.extend(rng.sample(FAULTS, len(FAULTS)))
        fault = TURN.pop()
        FAULTS_DONE[fault] += 1
        return fault


def serve(client, server_port, seed):
    rng = random.Random(seed)
    try:
        while True:
            # Statements of the start pass; what is looked at without being taken decides.
            start = client.recv(2000, socket.MSG_PEEK)
            if not start:
                return
            fault = next_fault(rng) if b"insert_deduplication_token" in start and rng.random() < 0.3 else None
            if not serve_one(client, server_port, rng, fault):
                return
    except OSError:
        pass
    finally:
        client.close()


def start(server_port, seed):
    """Starts the proxy; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        count = seed * 1000
        while True:
            client, _ = listener.accept()
            count += 1
            threading.Thread(target=serve, args=(client, server_port, count), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]
