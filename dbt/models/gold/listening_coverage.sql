with days as (
    select
        user_id,
        min(date) as first_date,
        max(date) as last_date,
        cast({{ dbt.datediff('min(date)', 'max(date)', 'day') }} + 1 as bigint) as days,
        count(*) as days_with_plays
    from {{ ref('user_daily_listening') }}
    group by user_id
),

gaps as (
    select user_id, count(*) as gaps, max(days) as longest_gap_days
    from {{ ref('listening_gaps') }}
    group by user_id
),

streaks as (
    select user_id, max(days) as longest_streak_days
    from {{ ref('listening_streaks') }}
    group by user_id
)

select
    days.user_id,
    days.first_date,
    days.last_date,
    days.days,
    days.days_with_plays,
    cast(days.days_with_plays as double) / days.days as share_of_days,
    coalesce(gaps.gaps, 0) as gaps,
    coalesce(gaps.longest_gap_days, 0) as longest_gap_days,
    streaks.longest_streak_days
from days
inner join streaks on days.user_id = streaks.user_id
left join gaps on days.user_id = gaps.user_id
