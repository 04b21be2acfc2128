"""The warehouse on Snowflake: setting it up, bronze from the lake's files, gold back out of it."""
