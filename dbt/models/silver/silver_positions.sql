{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['_kafka_topic_id', '_kafka_partition'],
    )
}}

-- depends_on: {{ ref('silver_events') }}
with landed as (
    {% for topic in ('plays', 'skips', 'likes') %}
    select
        _kafka_topic,
        _kafka_topic_id,
        _kafka_partition,
        count(*) as landed_rows,
        max(_kafka_offset) + 1 as next_offset
    from {{ came(topic) }}
    where {{ newly_landed() }}
    group by _kafka_topic, _kafka_topic_id, _kafka_partition
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
)

select
    landed._kafka_topic,
    landed._kafka_topic_id,
    landed._kafka_partition,
    landed.next_offset,
    landed.landed_rows{% if is_incremental() %} + coalesce(known.landed_rows, 0){% endif %} as landed_rows
from landed
{% if is_incremental() %}
left join {{ this }} as known
    on landed._kafka_topic_id = known._kafka_topic_id and landed._kafka_partition = known._kafka_partition
{% endif %}
