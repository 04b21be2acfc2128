{% for topic in ('plays', 'skips', 'likes') %}
select
    event_id,
    event_type,
    {{ invalid_reason() }} as reason,
    user_id,
    track_id,
    track_name,
    artist_name,
    duration_ms,
    ms_played,
    played_at,
    source,
    _kafka_topic,
    _kafka_topic_id,
    _kafka_partition,
    _kafka_offset,
    {{ now_utc() }} as processed_at
from ({{ first_landed(source('bronze', topic)) }}) as events
where {{ invalid_reason() }} is not null
{% if not loop.last %}union all{% endif %}
{% endfor %}
