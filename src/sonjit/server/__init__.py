"""The live app: an HTTP and WebSocket server on this machine, and the page that it shows.

`create_app` in `app.py` makes one `Service`, which owns everything that clients share:

* worker threads, on which each client's images are processed in order;
* `Decoders`, child processes that decode images (`processes.py`);
* `DetectorPool`, which lends detectors to clients;
* `JobStore`, which runs one job (`job.py`) at a time in a child process (`job_files.py`), and owns the folders of jobs
  and their rows in an SQLite file (`job_rows.py`);
* the open streams, each a `Stream` with one `Session` per detector.

Modules read from the outside in: `middleware.py` checks each request, `images.py`, `stream.py`, `jobs.py` and
`gestures.py` are the endpoints, `options.py` reads what clients send, and `errors.py` has the form of all refusals.
"""
