-- Each way of counting plays gives the same total.
with totals as (
    select 'silver_plays' as model, count(*) as plays from {{ ref('silver_plays') }}
    union all
    select 'user_daily_listening', sum(total_plays) from {{ ref('user_daily_listening') }}
    union all
    select 'track_popularity', sum(play_count) from {{ ref('track_popularity') }}
    union all
    select 'artist_stats', sum(play_count) from {{ ref('artist_stats') }}
    union all
    select 'device_usage', sum(play_count) from {{ ref('device_usage') }}
)

select * from totals where coalesce(plays, 0) <> (select count(*) from {{ ref('silver_plays') }})
