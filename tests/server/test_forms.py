"""Files of multipart forms as clients of different libraries name them."""

import pytest

from sonjit.server.forms import names_of_part

from .conftest import end_of, jpeg_of, refusal

EXTENDED = b"filename*=UTF-8''%EC%86%90%20%EC%A7%93.jpg"
NAMES = [
    (b'filename="a.jpg"', "a.jpg"),
    (b"filename=a.jpg", "a.jpg"),
    ('filename="손.jpg"'.encode(), "손.jpg"),
    (b'filename="a\\"b;c.jpg"', 'a"b;c.jpg'),
    (EXTENDED, "손 짓.jpg"),
    (b"FileName*=utf-8'ko'%EC%86%90.jpg", "손.jpg"),
    (b"filename*=\"UTF-8''%EC%86%90.jpg\"", "손.jpg"),
    (b"filename*=iso-8859-1'en'%A3.jpg", "£.jpg"),
    (b"filename*=euc-kr''%BC%D5.jpg", "손.jpg"),
    (b"filename*=nonsense''%EC%86%90.jpg", "손.jpg"),
    (b"filename*=%EC%86%90.jpg", "손.jpg"),
    (b'filename="plain.jpg"; ' + EXTENDED, "손 짓.jpg"),
    (EXTENDED + b'; filename="plain.jpg"', "손 짓.jpg"),
    (b'filename*0="holi"; filename*1="day.jpg"', "holiday.jpg"),
    (b"filename*1*=%20%EC%A7%93.jpg; filename*0*=UTF-8''%EC%86%90", "손 짓.jpg"),
    (b"filename*0*=UTF-8''%EC%86%90; filename*1=\"a%20.jpg\"", "손a%20.jpg"),
    (b"filename*1=lost.jpg", None),
    (b"", None),
]


@pytest.mark.parametrize(("parameters", "name"), NAMES)
def test_names_of_files(parameters, name):
    assert names_of_part(b'form-data; name="file"; ' + parameters) == ("file", name)
    assert names_of_part(b"form-data; " + parameters + b'; name="file"') == ("file", name)


def send(client, address, *parts):
    """Send a form of parts, each a Content-Disposition without its type and the content."""
    body = b"".join(
        b"--q\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts
    )
    headers = {"content-type": "multipart/form-data; boundary=q"}
    return client.post(address, content=body + b"--q--\r\n", headers=headers)


def test_a_job_takes_files_of_any_kind_of_name(weights, ask, photo):
    client, image = ask(), jpeg_of(photo)
    names = (b'filename="a.jpg"', b"filename*=UTF-8''..%2F%EC%86%90.jpg", b'filename*0="c."; filename*1="jpg"')
    posted = send(client, "/v1/jobs?kind=hands&draw=false", *((b'name="file"; ' + name, image) for name in names))
    job = end_of(client, posted)
    assert (job["state"], job["frames"], job["of"], job["problems"]) == ("done", 3, 3, [])
    table = client.get(job["downloads"]["csv"]).text
    assert all(name in table for name in ("a.jpg", "손.jpg", "c.jpg"))


def test_parts_that_a_job_skips_are_in_its_problems(weights, ask, photo):
    client, image = ask(), jpeg_of(photo)
    parts = (
        (b'name="file"; filename="a.jpg"', image),
        (b'name="file"', image),
        (b'name="file"; filename="shots/.DS_Store"', b"x"),
        (b'name="files[]"; filename="b.jpg"', image),
        (b'name="note"', b"x"),
    )
    job = end_of(client, send(client, "/v1/jobs?kind=hands&draw=false", *parts))
    assert (job["state"], job["frames"], job["of"]) == ("done", 1, 1)
    nameless, hidden, other = job["problems"]
    assert nameless == "a part 'file' was skipped: it has no file name"
    assert hidden == "'shots/.DS_Store' was skipped: it is hidden"
    assert other == "'b.jpg' was skipped: its field is 'files[]', not 'file'"


def test_a_job_without_any_file_names_what_was_skipped(weights, ask, photo):
    posted = send(ask(), "/v1/jobs?kind=hands", (b'name="image"; filename="a.jpg"', jpeg_of(photo)))
    assert "field is 'image', not 'file'" in refusal(posted, 422, "bad_image")


@pytest.mark.parametrize("address", ["/v1/hands?model=lite", "/v1/face"])
def test_an_image_request_takes_a_file_of_any_kind_of_name(all_weights, ask, photo, address):
    client, image = ask(), jpeg_of(photo)
    expected = client.post(address, content=image).json()
    for name in (b'filename="a.jpg"', EXTENDED, b'filename*0="c."; filename*1="jpg"'):
        for field in (b'name="file"; ', b'name="image"; '):
            assert send(client, address, (field + name, image), (b'name="note"', b"x")).json() == expected


def test_an_image_request_skips_no_file(weights, ask, photo):
    client, image = ask(), jpeg_of(photo)
    named = b'name="file"; filename="a.jpg"', image
    for parts, says in (
        ([named, (b'name="file"', image)], "no file name"),
        ([named, (b'name="file"; ' + EXTENDED, image)], "more than one file"),
        ([(b'name="note"', b"x")], "the form has no file"),
    ):
        assert says in refusal(send(client, "/v1/hands", *parts), 422, "bad_image")
