{{
    config(
        materialized='incremental',
        incremental_strategy='replace_changed',
        unique_key=['user_id', 'track_id'],
    )
}}

-- depends_on: {{ ref('silver_events') }}
with
{% if is_incremental() %}
{% set counted_anew %}
    select user_id, track_id
    from {{ changed_plays() }} as events
    where _first_build <= {{ setting('published_build') }}
    union distinct
    select user_id, track_id
    from {{ this }}
    where _build > {{ setting('published_build') }}
{% endset %}
changed as (
    select distinct user_id, track_id
    from {{ changed_plays() }} as events
),

-- Where a play was altered that may have been counted, or where a build that failed left its marks: from all plays.
counted_anew as ({{ counted_anew }}),

-- Elsewhere plays have only come: they are added to what is there.
parts as (
    {% if has_rows(counted_anew) %}
    select
        {{ total_keys() }},
        {{ sums_of_plays() }}
    from {{ ref('counted_plays') }} as plays
    where
        exists (
            select 1 from counted_anew as anew
            where plays.user_id = anew.user_id and plays.track_id = anew.track_id
        )
    group by {{ total_keys() }}
    union all
    {% endif %}
    select
        {{ total_keys() }},
        {{ sums_of_plays() }}
    from {{ ref('counted_plays') }} as plays
    where
        plays._build > {{ setting('published_build') }}
        and not exists (
            select 1 from counted_anew as anew
            where plays.user_id = anew.user_id and plays.track_id = anew.track_id
        )
    group by {{ total_keys() }}
    union all
    select
        {{ total_keys() }},
        play_count,
        heard_plays,
        listened_ms,
        plays_with_length,
        plays_with_skip_known,
        skips,
        first_played_at,
        last_played_at
    from {{ this }} as known
    where
        exists (select 1 from changed where known.user_id = changed.user_id and known.track_id = changed.track_id)
        and not exists (
            select 1 from counted_anew as anew
            where known.user_id = anew.user_id and known.track_id = anew.track_id
        )
)
{% else %}
parts as (
    select
        {{ total_keys() }},
        {{ sums_of_plays() }}
    from {{ ref('counted_plays') }}
    group by {{ total_keys() }}
)
{% endif %}

select
    {{ total_keys() }},
    cast(sum(play_count) as bigint) as play_count,
    cast(sum(heard_plays) as bigint) as heard_plays,
    cast(sum(listened_ms) as bigint) as listened_ms,
    cast(sum(plays_with_length) as bigint) as plays_with_length,
    cast(sum(plays_with_skip_known) as bigint) as plays_with_skip_known,
    cast(sum(skips) as bigint) as skips,
    min(first_played_at) as first_played_at,
    max(last_played_at) as last_played_at,
    cast({{ build_number() }} as bigint) as _build
from parts
group by {{ total_keys() }}
