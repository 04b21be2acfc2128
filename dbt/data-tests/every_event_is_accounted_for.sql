-- Every row of bronze was taken up, and every distinct event is kept, merged or invalid: one of the three.
select 'taken up' as what, coalesce(taken_up.landed_rows, 0) as found, bronze.landed_rows as expected
from (
    select
        (select count(*) from {{ source('bronze', 'plays') }})
        + (select count(*) from {{ source('bronze', 'skips') }})
        + (select count(*) from {{ source('bronze', 'likes') }}) as landed_rows
) as bronze
cross join (select sum(landed_rows) as landed_rows from {{ ref('silver_positions') }}) as taken_up
where coalesce(taken_up.landed_rows, 0) <> bronze.landed_rows
union all
select 'told apart' as what, accounted.total as found, events.total as expected
from (select count(*) as total from {{ ref('silver_events') }}) as events
cross join (
    select count(*) as total
    from (
        select event_id from {{ ref('silver_plays') }}
        union all
        select event_id from {{ ref('silver_skips') }}
        union all
        select event_id from {{ ref('silver_likes') }}
        union all
        select event_id from {{ ref('silver_merged') }}
        union all
        select event_id from {{ ref('silver_invalid') }}
    ) as accounted
) as accounted
where accounted.total <> events.total
