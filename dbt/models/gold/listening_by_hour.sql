{{ config(materialized='incremental', incremental_strategy='replace_changed', unique_key=['user_id', 'date']) }}

with timed as (
    select
        user_id,
        date,
        cast(extract(hour from {{ local_time('played_at') }}) as bigint) as hour,
        listened_ms
    from {{ ref('counted_plays') }} as plays
    where {{ has_changed(['user_id', 'date']) }}
)

select
    user_id,
    date,
    {{ iso_weekday('date') }} as weekday,
    hour,
    count(*) as total_plays,
    coalesce(sum(listened_ms), 0) / cast(60000 as double) as total_minutes_listened
from timed
group by user_id, date, hour
