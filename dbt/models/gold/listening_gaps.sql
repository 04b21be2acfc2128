with days as (
    select
        user_id,
        date,
        lead(date) over (partition by user_id order by date) as next_date
    from {{ ref('user_daily_listening') }}
)

select
    user_id,
    date + 1 as first_date,
    next_date - 1 as last_date,
    cast({{ dbt.datediff('date', 'next_date', 'day') }} - 1 as bigint) as days
from days
where {{ dbt.datediff('date', 'next_date', 'day') }} > 1
