"""The named queries of the pages and the API, over published gold. Parameters are ``$name``."""

from __future__ import annotations

QUERIES: dict[str, str] = {
    "overview": """
        select
            coalesce((select sum(total_plays) from gold.user_daily_listening), 0)::bigint as total_plays,
            (select count(*) from gold.track_popularity) as unique_tracks,
            (select count(*) from gold.artist_stats) as unique_artists,
            (select count(distinct user_id) from gold.user_daily_listening) as listeners,
            coalesce((select sum(total_minutes_listened) from gold.user_daily_listening), 0) as minutes,
            (select min(date) from gold.user_daily_listening) as first_day,
            (select max(date) from gold.user_daily_listening) as last_day
    """,
    "plays_by_day": """
        with days as (
            select unnest(generate_series(min(date)::timestamp, max(date)::timestamp, interval 1 day))::date as date
            from gold.user_daily_listening
        )
        select
            days.date,
            coalesce(sum(listened.total_plays), 0)::bigint as plays,
            coalesce(sum(listened.total_minutes_listened), 0) / 60 as hours
        from days
        left join gold.user_daily_listening as listened on days.date = listened.date
        group by days.date
        order by days.date
    """,
    "devices": "select device_type, play_count, share_of_plays from gold.device_usage order by play_count desc, 1",
    "top_tracks": """
        select track_name as track, artist_name as artist, play_count as plays, unique_listeners as listeners, track_id
        from gold.track_popularity
        order by play_count desc, track_id
        limit $most
    """,
    "top_artists": """
        select artist_name as artist, play_count as plays, unique_tracks as tracks,
            total_minutes_listened / 60 as hours
        from gold.artist_stats
        order by play_count desc, artist_name
        limit $most
    """,
    "top_albums": """
        select album_name as album, artist_name as artist, play_count as plays, unique_tracks as tracks
        from gold.album_popularity
        order by play_count desc, album_name, artist_name
        limit $most
    """,
    "track": """
        select track_id, track_name, artist_name, play_count
        from gold.track_popularity
        where track_id = $track_id
    """,
    "alias": "select track_id from gold.track_aliases where former_track_id = $track_id",
    "unnamed": """
        select coalesce(sum(play_count), 0)::bigint as plays, coalesce(sum(total_minutes_listened), 0) / 60 as hours
        from gold.unnamed_plays
    """,
    "similar_tracks": """
        select similar_track_id as track_id, similar_track_name as track_name, similar_artist_name as artist_name,
            score, rank
        from gold.track_similarity
        where track_id = $track_id
        order by rank
        limit $most
    """,
    "build": "select version, built_at from build_info",
}

LATER = ("alias", "unnamed")
"""Queries on tables that builds of earlier releases have not got; of such a build they find nothing."""
