"""TLS before a server that does not speak it, and the certificates for that: the bytes within are the real server's."""
import os
import socket
import ssl
import subprocess
import threading


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def certificates(folder):
    """ca.pem, and signed by it server.pem (localhost, 127.0.0.1), elsewhere.pem (another name), client.pem.
    stranger.pem is another authority."""
    for ca in ("ca", "stranger"):
        openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", ca + ".key", "-out", ca + ".pem",
                "-days", "2", "-subj", "/CN=" + ca)
    names = {"server": "DNS:localhost,IP:127.0.0.1", "elsewhere": "DNS:elsewhere.example", "client": "DNS:client"}
    for name, alternatives in names.items():
        with open(os.path.join(folder, "names"), "w", encoding="ascii") as f:
            f.write("subjectAltName=" + alternatives)
        openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".csr",
                "-subj", "/CN=" + name)
        openssl(folder, "x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "names", "-out", name + ".pem")
        os.chmod(os.path.join(folder, name + ".key"), 0o600)


def pump(source, sink):
    try:
        while True:
            part = source.recv(1 << 16)
            if not part:
                break
            sink.sendall(part)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client, context, port):
    try:
        client = context.wrap_socket(client, server_side=True)
        server = socket.create_connection(("127.0.0.1", port))
    except OSError:
        client.close()
        return
    threading.Thread(target=pump, args=(client, server), daemon=True).start()
    pump(server, client)


def start(folder, port, name="server", client_wanted=False):
    """Starts a front before the port with that certificate; returns its own port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key"))
    if client_wanted:
        context.load_verify_locations(os.path.join(folder, "ca.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, context, port), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]
