with history as (
    select
        tracks.user_id,
        catalogue.track_number,
        catalogue.artist_name,
        {{ vote_weight('tracks') }} as vote
    from {{ ref('listener_tracks') }} as tracks
    inner join {{ ref('track_catalogue') }} as catalogue on tracks.track_id = catalogue.track_id
),

-- Whatever was played, heard or skipped, is not new to the listener, by whichever id.
played as (
    select tracks.user_id, same_song.track_number
    from {{ ref('first_listens') }} as tracks
    inner join {{ ref('track_catalogue') }} as own on tracks.track_id = own.track_id
    inner join {{ ref('track_catalogue') }} as same_song on own.song = same_song.song
),

by_track as (
    select
        history.user_id,
        alike.similar_track_number as track_number,
        sum(history.vote * alike.voice) as score
    from history
    inner join {{ ref('track_neighbours') }} as alike on history.track_number = alike.track_number
    group by history.user_id, alike.similar_track_number
),

artist_votes as (
    select user_id, artist_name, max(vote) as vote
    from history
    -- Without a name it is nobody.
    where artist_name <> ''
    group by user_id, artist_name
),

liked_artists as (
    select user_id, artist_name, sum(vote) as vote
    from (
        select user_id, artist_name, vote
        from artist_votes
        union all
        select votes.user_id, alike.similar_artist_name, votes.vote * alike.score
        from artist_votes as votes
        inner join {{ ref('artist_neighbours') }} as alike on votes.artist_name = alike.artist_name
    ) as either
    group by user_id, artist_name
),

by_artist as (
    select
        liked.user_id,
        tracks.track_number,
        liked.vote * tracks.share_of_best as score
    from liked_artists as liked
    inner join {{ ref('track_catalogue') }} as tracks on liked.artist_name = tracks.artist_name
    where tracks.artist_rank <= {{ var('artist_tracks') }}
),

taste as (
    select
        either.user_id,
        either.track_number,
        round(sum(either.track_score) + {{ artist_weight() }} * sum(either.artist_score), 9) as score,
        round(sum(either.artist_score), 9) as artist_score
    from (
        select user_id, track_number, score as track_score, cast(0 as double) as artist_score
        from by_track
        union all
        select user_id, track_number, cast(0 as double), score
        from by_artist
    ) as either
    left join played on either.user_id = played.user_id and either.track_number = played.track_number
    where played.track_number is null
    group by either.user_id, either.track_number
),

listeners as (
    select played.user_id, count(*) as tracks, coalesce(max(found.tracks), 0) as found
    from played
    left join (
        select user_id, count(*) as tracks
        from taste
        group by user_id
    ) as found on played.user_id = found.user_id
    group by played.user_id
),

-- Of so many of the most popular, enough are new to the listener.
popular as (
    select listeners.user_id, tracks.track_number
    from listeners
    inner join {{ ref('track_catalogue') }} as tracks
        on tracks.popularity_rank <= listeners.tracks + listeners.found + {{ 3 * var('recommendations') }}
    left join played on listeners.user_id = played.user_id and tracks.track_number = played.track_number
    left join taste on listeners.user_id = taste.user_id and tracks.track_number = taste.track_number
    where
        listeners.found < {{ 3 * var('recommendations') }}
        and played.track_number is null
        and taste.track_number is null
),

candidates as (
    select user_id, track_number, score, artist_score
    from taste
    union all
    select user_id, track_number, cast(0 as double), cast(0 as double)
    from popular
),

best as (
    select
        candidates.user_id,
        candidates.track_number,
        tracks.track_id,
        tracks.track_name,
        tracks.artist_name,
        tracks.song,
        tracks.share_of_best,
        tracks.recent_listeners,
        candidates.score,
        candidates.artist_score,
        row_number() over (
            partition by candidates.user_id
            order by candidates.score desc, candidates.artist_score desc, tracks.popularity_rank
        ) as place
    from candidates
    inner join {{ ref('track_catalogue') }} as tracks on candidates.track_number = tracks.track_number
    -- A song has an id of each source at most; of so many, enough are different songs.
    qualify
        row_number() over (
            partition by candidates.user_id
            order by candidates.score desc, candidates.artist_score desc, tracks.popularity_rank
        ) <= {{ 3 * var('recommendations') }}
),

songs as (
    select *
    from best
    qualify row_number() over (partition by user_id, song order by place) = 1
),

ranked as (
    select
        *,
        row_number() over (partition by user_id order by place) as rank
    from songs
    qualify row_number() over (partition by user_id order by place) <= {{ var('recommendations') }}
),

-- The strongest voices, sought for what is recommended only; of equal ones the first by id, so that a build gives the
-- same reason again.
track_reasons as (
    select
        ranked.user_id,
        ranked.track_number,
        because.track_name,
        because.artist_name,
        history.vote * alike.voice as vote
    from ranked
    inner join {{ ref('track_neighbours') }} as alike on ranked.track_number = alike.similar_track_number
    inner join history on ranked.user_id = history.user_id and alike.track_number = history.track_number
    inner join {{ ref('track_catalogue') }} as because on history.track_number = because.track_number
    qualify
        row_number() over (
            partition by ranked.user_id, ranked.track_number
            order by round(history.vote * alike.voice, 9) desc, because.track_id
        ) = 1
),

artist_reasons as (
    select
        ranked.user_id,
        ranked.track_number,
        votes.artist_name,
        {{ artist_weight() }} * ranked.share_of_best * votes.vote * coalesce(alike.score, cast(1 as double)) as vote
    from ranked
    inner join artist_votes as votes on ranked.user_id = votes.user_id
    left join {{ ref('artist_neighbours') }} as alike
        on votes.artist_name = alike.artist_name and ranked.artist_name = alike.similar_artist_name
    where ranked.artist_score > 0 and (votes.artist_name = ranked.artist_name or alike.score is not null)
    qualify
        row_number() over (
            partition by ranked.user_id, ranked.track_number
            order by round(votes.vote * coalesce(alike.score, cast(1 as double)), 9) desc, votes.artist_name
        ) = 1
)

select
    ranked.user_id,
    ranked.track_id,
    ranked.track_name,
    ranked.artist_name,
    ranked.score as recommendation_score,
    ranked.rank,
    case
        -- The strongest voice of all: a track's, or an artist's.
        when
            by_track.track_name is not null
            and round(by_track.vote, 9) >= coalesce(round(by_artist.vote, 9), cast(0 as double))
            then
                'because you played ' || by_track.track_name
                || case when by_track.artist_name <> '' then ' by ' || by_track.artist_name else '' end
        when by_artist.artist_name = ranked.artist_name then 'more by ' || ranked.artist_name
        when by_artist.artist_name is not null then 'because you played ' || by_artist.artist_name
        when ranked.recent_listeners > 0 then 'popular lately'
        else 'popular'
    end as reason
from ranked
left join track_reasons as by_track
    on ranked.user_id = by_track.user_id and ranked.track_number = by_track.track_number
left join artist_reasons as by_artist
    on ranked.user_id = by_artist.user_id and ranked.track_number = by_artist.track_number
