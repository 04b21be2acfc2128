with detected as (
    select
        user_id,
        track_id,
        track_name,
        artist,
        started_at,
        detected_at,
        lag(track_id) over in_time as track_before,
        lag(started_at) over in_time as started_before
    from {{ source('bronze', 'currently_playing') }}
    window
        in_time as (
            partition by user_id order by detected_at, _kafka_topic_id, _kafka_partition, _kafka_offset
        )
)

select user_id, track_id, track_name, artist, started_at, detected_at
from detected
where track_id is distinct from track_before or started_at is distinct from started_before
