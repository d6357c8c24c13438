"""Public client libraries of GELF that send long messages in chunks: gelf_senders.py HOST PORT, with the libraries in
PYTHONPATH. The test takes the messages from here to compare."""
import base64
import itertools
import logging
import random
import sys

SIZES = (60, 1500, 9000, 30000)  # bytes of a text that does not compress, before base64
CHUNK = {"graypy": 1420, "pygelf": 400}


def messages():
    """library, compressed, name, text of each"""
    for n, (library, packed, size) in enumerate(itertools.product(CHUNK, (True, False), SIZES)):
        text = base64.b64encode(random.Random(n).randbytes(size)).decode()
        yield library, packed, f"{library}-{'packed' if packed else 'plain'}-{size}", text


def handler_of(library, host, port, packed):
    if library == "graypy":
        import graypy
        return graypy.GELFUDPHandler(host, port, compress=packed, debugging_fields=False, localname="box",
                                     gelf_chunker=graypy.handler.GELFWarningChunker(CHUNK[library]))
    import pygelf
    return pygelf.GelfUdpHandler(host=host, port=port, compress=packed, chunk_size=CHUNK[library],
                                 include_extra_fields=True)


if __name__ == "__main__":
    log = logging.getLogger("till")
    log.propagate = False
    for which, compressed, name, blob in messages():
        log.handlers = [handler_of(which, sys.argv[1], int(sys.argv[2]), compressed)]
        log.warning("%s", name, extra={"blob": blob})
