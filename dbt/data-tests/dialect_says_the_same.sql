-- What macros/dialect.sql says is the same on both targets: known answers, around a change of the clocks too.
-- depends_on: {{ ref('silver_plays') }}
with known as (
    select
        cast('2025-03-30 00:59:59.250+00:00' as timestamp with time zone) as before_summer,
        cast('2025-03-30 01:00:00.000+00:00' as timestamp with time zone) as in_summer,
        cast('2025-12-31 23:30:00+00:00' as timestamp with time zone) as new_year
),

answers as (
    select
        cast({{ local_time('before_summer', "'Europe/Berlin'") }} as varchar) as winter_clock,
        cast({{ local_time('in_summer', "'Europe/Berlin'") }} as varchar) as summer_clock,
        {{ date_of_local_time('new_year', "'Europe/Berlin'") }} as berlin_day,
        {{ date_of_local_time('new_year', "'America/New_York'") }} as new_york_day,
        {{ iso_weekday(date_of_local_time('in_summer', "'UTC'")) }} as weekday,
        {{ ms_between('before_summer', 'in_summer') }} as forward,
        {{ ms_between('in_summer', 'before_summer') }} as backward
    from known
)

select *
from answers
where
    winter_clock not like '2025-03-30 01:59:59.25%'
    or summer_clock not like '2025-03-30 03:00:00%'
    or berlin_day <> cast('2026-01-01' as date)
    or new_york_day <> cast('2025-12-31' as date)
    or weekday <> 7
    or forward <> 750
    or backward <> -750
