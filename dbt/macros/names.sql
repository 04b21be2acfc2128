{# What is the same name: sources, exports and editors spell one name with other cases, Unicode forms and blanks, and with
   characters that nobody sees. playlake.events.same_name() says the same in Python (docs/adr/0020). #}

{# A name as it is compared, never as it is shown. #}
{% macro name_key(text) -%}
    {#- Removed: soft hyphen, joiners, zero-width and direction marks, variation selectors, byte order mark. -#}
    {%- set invisible =
        '\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063'
        ~ '\u2064\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff'
    -%}
    {#- Made a blank: tabs, ends of lines, and the blanks of all widths. -#}
    {%- set blanks =
        '\t\n\x0b\x0c\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f'
        ~ '\u205f\u3000'
    -%}
    {#- A sigma at the end of a word is written otherwise; in capitals it is not. -#}
    {%- set from = blanks ~ '\u03c2' -%}
    {%- set to = ' ' * (blanks | length) ~ '\u03c3' -%}
    trim(
        replace(
            replace(
                replace(
                    translate(
                        lower({{ composed("translate(" ~ text ~ ", '" ~ invisible ~ "', '')") }}),
                        '{{ from }}',
                        '{{ to }}'
                    ),
                    ' ',
                    chr(29) || chr(30)
                ),
                chr(30) || chr(29),
                ''
            ),
            chr(29) || chr(30),
            ' '
        )
    )
{%- endmacro %}

{# A track's name across sources, whose ids differ. #}
{% macro track_key(of='') -%}
    {{ name_key(of ~ 'artist_name') }} || chr(31) || {{ name_key(of ~ 'track_name') }}
{%- endmacro %}

{# A track's id: that of its source, or one made of artist and title where the source gives none. Those that earlier
   releases made of other spellings are replaced. #}
{% macro track_id_of() -%}
    case
        when track_id like 'surrogate:2-%' then track_id
        when track_id like 'surrogate:%' then 'surrogate:2-' || md5({{ track_key() }})
        else track_id
    end
{%- endmacro %}

{# Whether a source gives the name of an artist, and not what it writes where it has none. A name's key is costly: it is
   made only of what may be a placeholder, and of what has no letters of two cases, as blanks have not. #}
{% macro is_artist_named(artist='artist_name') -%}
    coalesce(
        not (
            (lower({{ artist }}) like '%nknown%' or lower({{ artist }}) = upper({{ artist }}))
            and {{ name_key(artist) }} in ('', 'unknown artist', 'unknown author', 'unknown show', '<unknown>', '[unknown]')
        ),
        true
    )
{%- endmacro %}

{# Whether a source names a track. A title such as "Unknown Track" may be one where the artist has a name. #}
{% macro is_named(of='') -%}
    coalesce(
        not (
            (lower({{ of }}track_name) like '%nknown%' or lower({{ of }}track_name) = upper({{ of }}track_name))
            and (
                {{ name_key(of ~ 'track_name') }} = ''
                or (
                    {{ name_key(of ~ 'track_name') }}
                    in ('unknown track', 'unknown book', 'unknown chapter', 'unknown episode', '<unknown>', '[unknown]')
                    and not {{ is_artist_named(of ~ 'artist_name') }}
                )
            )
        ),
        true
    )
{%- endmacro %}

{# CTE `relation` (spelling, name): for each spelling of an artist or album in play_totals, the one that was played
   most of those that are the same name. #}
{% macro spellings(relation, name) -%}
{{ relation }} as (
    select
        spelling,
        first_value(spelling) over (
            partition by name_key order by plays desc, spelling rows between unbounded preceding and unbounded following
        ) as {{ name }}
    from (
        select spelling, plays, {{ name_key('spelling') }} as name_key
        from (
            select {{ name }} as spelling, sum(play_count) as plays
            from {{ ref('play_totals') }}
            where {{ name }} is not null
            group by {{ name }}
        ) as spelled
    ) as keyed
)
{%- endmacro %}
