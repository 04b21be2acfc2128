{{ config(materialized='incremental', incremental_strategy='replace_changed', unique_key=['user_id', 'track_id']) }}

with firsts as (
    select
        user_id,
        track_id,
        min(first_played_at) as first_played_at,
        max(last_played_at) as last_played_at,
        cast(sum(play_count) as bigint) as play_count,
        cast(sum(heard_plays) as bigint) as heard_plays
    from {{ ref('play_totals') }} as plays
    where {{ has_changed(['user_id', 'track_id']) }} and {{ is_named() }}
    group by user_id, track_id
),

named as (
    select
        firsts.user_id,
        firsts.track_id,
        max(totals.track_name) as track_name,
        max(totals.artist_name) as artist_name
    from firsts
    inner join {{ ref('play_totals') }} as totals
        on
            firsts.user_id = totals.user_id
            and firsts.track_id = totals.track_id
            and firsts.first_played_at = totals.first_played_at
    group by firsts.user_id, firsts.track_id
)

select
    firsts.user_id,
    firsts.track_id,
    named.track_name,
    named.artist_name,
    firsts.first_played_at,
    {{ date_of_local_time('firsts.first_played_at') }} as first_date,
    firsts.last_played_at,
    firsts.play_count,
    firsts.heard_plays
from firsts
inner join named on firsts.user_id = named.user_id and firsts.track_id = named.track_id
