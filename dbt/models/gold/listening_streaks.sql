with numbered as (
    select
        user_id,
        date,
        total_plays,
        {{ dbt.datediff("cast('2000-01-01' as date)", 'date', 'day') }}
        - row_number() over (partition by user_id order by date) as streak
    from {{ ref('user_daily_listening') }}
)

select
    user_id,
    min(date) as first_date,
    max(date) as last_date,
    count(*) as days,
    cast(sum(total_plays) as bigint) as total_plays,
    row_number() over (partition by user_id order by count(*) desc, min(date) desc) as rank
from numbered
group by user_id, streak
