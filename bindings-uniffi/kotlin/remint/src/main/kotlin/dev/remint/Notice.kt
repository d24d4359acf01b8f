package dev.remint

/**
 * Something that happened which an operator may want to see. It never holds a secret. The README lists the names.
 *
 * @property name what happened, as in `fetched`
 * @property detail more about it: a word, or a number in decimal digits
 * @property key the cache key it is about, a digest
 * @property flight the token request it is about
 * @property cause what the store threw, in a notice that comes of that. The text is the store's own, so printing a notice does not show it
 */
public class Notice internal constructor(
    public val name: String,
    public val detail: String? = null,
    public val key: String? = null,
    public val flight: String? = null,
    public val cause: Throwable? = null,
) {
    override fun toString(): String = "Notice(name=$name, detail=$detail, key=$key, flight=$flight)"
}
