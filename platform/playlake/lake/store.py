"""The object store below the lake: the S3 client of everything but deltalake and DuckDB."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, cast

import botocore.exceptions
import s3fs

from playlake.errors import PlaylakeError, UnavailableError
from playlake.lake.options import secret
from playlake.settings import Settings

_PART_BYTES = 8 * 2**20
"""Of an object that is written or read piece by piece; S3 wants parts of 5 MiB or more."""

_BUCKET_TRIES, _BUCKET_NAP_S = 20, 0.25

ERRORS: tuple[type[Exception], ...] = (
    OSError,
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
)
"""What the store's client raises."""


def _status(error: BaseException) -> int | None:
    """The HTTP status that a client's error is of."""
    cause = error if isinstance(error, botocore.exceptions.ClientError) else error.__cause__
    found: int | None = getattr(cause, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return found


@dataclass(frozen=True, slots=True)
class Object:
    """What a listing says of an object: bytes, and when it was written (UTC)."""

    size: int
    modified: datetime


class Store:
    """The bucket of the lake.

    What makes sure of something (:meth:`ensure_bucket`, :meth:`check_conditional_put`, :meth:`put_new`,
    :meth:`write_all`) raises UnavailableError when the store fails. All else raises the client's own :data:`ERRORS`:
    who calls knows what that means there, and says it by :meth:`failed`.
    """

    def __init__(self, settings: Settings) -> None:
        settings.require_store()
        self._settings = settings
        self._where = settings.s3_endpoint or f"AWS S3 ({settings.s3_region})"
        self._fs = s3fs.S3FileSystem(
            key=secret(settings.s3_access_key),
            secret=secret(settings.s3_secret_key),
            endpoint_url=settings.s3_endpoint,
            client_kwargs={"region_name": settings.s3_region},
            config_kwargs={"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 3}},
            skip_instance_cache=True,
            use_listings_cache=False,
        )

    def ensure_bucket(self, name: str | None = None) -> None:
        """Make the bucket unless it is there."""
        bucket = name or self._settings.s3_bucket
        if not self._has_bucket(bucket):
            self._make_bucket(bucket)

    def _has_bucket(self, bucket: str) -> bool:
        try:
            self._fs.call_s3("head_bucket", Bucket=bucket)
            return True
        except FileNotFoundError:
            return False
        except ERRORS as error:
            if _status(error) == 404:
                return False
            raise self.failed(f"looking for the bucket {bucket}", error) from error

    def _make_bucket(self, bucket: str) -> None:
        """Make the bucket, which another client may make at the same time.

        SeaweedFS answers NoSuchBucket then, and may keep that answer for minutes (it caches that the bucket is
        missing) while HeadBucket already finds the bucket.
        """
        for left in reversed(range(_BUCKET_TRIES)):
            try:
                self._fs.call_s3("create_bucket", Bucket=bucket)
                return
            except FileExistsError:
                return  # another was first
            except FileNotFoundError as error:
                if self._has_bucket(bucket):
                    return
                if not left:
                    raise self.failed(f"making the bucket {bucket}", error) from error
                time.sleep(_BUCKET_NAP_S)
            except ERRORS as error:
                raise self.failed(f"making the bucket {bucket}", error) from error

    def check_conditional_put(self) -> None:
        """Refuse a store on which two writers could both make the same log entry.

        Writes one small object twice with ``If-None-Match: *``; the second must be refused (RFC 9110, 13.1.2).

        :raises PlaylakeError: where the store lets the second pass.
        """
        key = f"bronze/_playlake_probe/{uuid.uuid4().hex}"
        # Refused at once: a reply was lost, and the client tried again.
        refused = not self.put_new(key, b"probe") or not self.put_new(key, b"probe")
        try:
            self._fs.call_s3("delete_object", Bucket=self._settings.s3_bucket, Key=key)
        except ERRORS as error:
            raise self.failed("removing from it", error) from error
        if refused:
            return
        raise PlaylakeError(
            f"The object store {self._where} ignores conditional PUT (If-None-Match), so two writers could overwrite"
            " each other's commits. playlake does not write to it: use one that honours it (AWS S3, MinIO, SeaweedFS)."
        )

    def put_new(self, key: str, body: bytes) -> bool:
        """Put an object where there is none; False where there is one, or is about to be.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: 412 where there is one, 409 where
        another is being put. Our own earlier try may be it, whose reply was lost.

        :raises UnavailableError: when the store failed; it may be there or not.
        """
        try:
            self._fs.call_s3("put_object", Bucket=self._settings.s3_bucket, Key=key, Body=body, IfNoneMatch="*")
        except ERRORS as error:
            if isinstance(error, FileExistsError) or _status(error) in (409, 412):
                return False
            raise self.failed("writing to it", error) from error  # unwell is not unwilling
        return True

    def changed(self, key: str, change: Callable[[bytes], bytes | None]) -> bool:
        """Replace an object by what ``change`` makes of it, unless another has replaced it meanwhile.

        :param change: gets the object and returns the new one, None to leave it.
        :returns: whether it was replaced (``If-Match``, as in :meth:`put_new`).
        :raises FileNotFoundError: when there is none.
        """
        at = {"Bucket": self._settings.s3_bucket, "Key": key}
        head = self._fs.call_s3("head_object", **at)
        body = change(self.read(key))
        if body is None:
            return False
        try:
            self._fs.call_s3("put_object", **at, Body=body, IfMatch=head["ETag"])
        except ERRORS as error:
            if _status(error) in (404, 409, 412):
                return False
            raise self.failed("writing to it", error) from error
        return True

    def write(self, key: str, body: bytes) -> None:
        """Put one object."""
        self._fs.pipe_file(f"{self._settings.s3_bucket}/{key}", body)

    def write_all(self, bodies: Mapping[str, bytes]) -> None:
        """Put several objects at once.

        :raises UnavailableError: when one of them could not be put; others may have been.
        """
        try:
            self._fs.pipe({f"{self._settings.s3_bucket}/{key}": body for key, body in bodies.items()})
        except ERRORS as error:
            raise self.failed("writing to it", error) from error

    def read(self, key: str) -> bytes:
        """Get one object.

        :raises FileNotFoundError: when there is none.
        """
        body: bytes = self._fs.cat_file(f"{self._settings.s3_bucket}/{key}")
        return body

    def read_all(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Get several objects at once; those that are not there are left out."""
        paths = {f"{self._settings.s3_bucket}/{key}": key for key in keys}
        if not paths:
            return {}
        found = self._fs.cat(list(paths), on_error="return")
        for body in found.values():
            if isinstance(body, Exception) and not isinstance(body, FileNotFoundError):
                raise body
        return {paths[path]: body for path, body in found.items() if isinstance(body, bytes)}

    def reading(self, key: str) -> IO[bytes]:
        """An object as a file that is read piece by piece."""
        return cast("IO[bytes]", self._fs.open(f"{self._settings.s3_bucket}/{key}", "rb", block_size=_PART_BYTES))

    def writing(self, key: str) -> IO[bytes]:
        """An object that is written piece by piece, and there once it is closed."""
        return cast("IO[bytes]", self._fs.open(f"{self._settings.s3_bucket}/{key}", "wb", block_size=_PART_BYTES))

    def listing(self, prefix: str) -> dict[str, Object]:
        """All objects below a folder, by their key."""
        bucket = self._settings.s3_bucket
        try:
            found: dict[str, dict[str, Any]] = self._fs.find(f"{bucket}/{prefix}", detail=True)
        except FileNotFoundError:  # not even the bucket
            return {}
        return {
            path.removeprefix(f"{bucket}/"): Object(int(of["size"]), of["LastModified"])
            for path, of in found.items()
            if of["type"] == "file" and "LastModified" in of
        }

    def after(self, prefix: str, key: str) -> list[str]:
        """The first keys below a folder that come after this one, in their order; one request."""
        of = {"Bucket": self._settings.s3_bucket, "Prefix": prefix, "StartAfter": key, "MaxKeys": 100}
        return [str(found["Key"]) for found in self._fs.call_s3("list_objects_v2", **of).get("Contents", ())]

    def delete(self, key: str) -> None:
        """Remove one object."""
        self._fs.rm_file(f"{self._settings.s3_bucket}/{key}")

    def delete_all(self, keys: Sequence[str]) -> None:
        """Remove several objects, a thousand a request."""
        self._fs.rm([f"{self._settings.s3_bucket}/{key}" for key in keys])

    def keys(self, prefix: str) -> list[str]:
        """All keys below a folder, sorted."""
        bucket = self._settings.s3_bucket
        found = (str(p).removeprefix(f"{bucket}/") for p in self._fs.find(f"{bucket}/{prefix}"))
        return sorted(key for key in found if key != prefix)  # an emptied folder is listed as itself by some stores

    def failed(self, doing: str, error: BaseException) -> UnavailableError:
        """The error that says that the store does not do what it was asked for."""
        return UnavailableError(
            f"The object store {self._where} failed at {doing} ({type(error).__name__}: {error}). "
            "Check that it runs (`playlake status`; `playlake up` starts the embedded one), that its disk has room, and"
            " the PLAYLAKE_S3_… settings."
        )
