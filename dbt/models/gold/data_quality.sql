-- Where every row that landed is: kept, or not, and why. `late` and `long` are kept and only told of.
with landed as (
    select _kafka_topic as topic, cast(sum(landed_rows) as bigint) as landed
    from {{ ref('silver_positions') }}
    group by _kafka_topic
),

events as (
    select
        _kafka_topic as topic,
        count(*) as events,
        count(case when is_kept then 1 end) as kept,
        count(case when not is_kept and invalid_reason is null then 1 end) as merged,
        count(
            case
                when
                    {{ epoch_ms('_kafka_timestamp') }} - {{ epoch_ms('played_at') }}
                    > {{ var('late_hours') }} * 3600000
                    then 1
            end
        ) as late,
        count(case when is_long then 1 end) as is_long
    from {{ ref('silver_events') }}
    group by _kafka_topic
),

measures as (
    select topic, 'landed' as measure, '' as reason, landed as total from landed
    union all
    select topic, 'kept', '', kept from events
    union all
    select topic, 'merged', 'another source tells of the same play', merged from events
    union all
    select landed.topic, 'duplicate', 'the same event again', landed.landed - coalesce(events.events, 0)
    from landed
    left join events on landed.topic = events.topic
    union all
    select _kafka_topic, 'invalid', reason, count(*)
    from {{ ref('silver_invalid') }}
    group by _kafka_topic, reason
    union all
    -- What stands after a colon is this message's own.
    select _kafka_topic, 'dead letter', split_part(reason, ':', 1), count(*)
    from {{ source('bronze', 'dead_letters') }}
    group by _kafka_topic, split_part(reason, ':', 1)
    union all
    select topic, 'late', 'landed more than {{ var("late_hours") }} hours after it was played', late from events
    union all
    select topic, 'long', 'longer than {{ var("long_play_ms") }} ms', is_long from events
)

select topic, measure, reason, total as row_count
from measures
where total > 0
