"""The lake: Delta tables on S3, their writer and an independent check. The only room with deltalake and s3fs."""
