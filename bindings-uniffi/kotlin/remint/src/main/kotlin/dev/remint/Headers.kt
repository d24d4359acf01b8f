package dev.remint

import dev.remint.core.Header
import dev.remint.core.Secret

/** Header lines as the core takes them. HTTP/2 and `HttpURLConnection` have the status among them. */
internal fun Map<String, List<String>>.toLines(): List<Header> =
    filterKeys { name: String? -> name != null && !name.startsWith(':') }.flatMap { (name, values) -> values.map { Header(name, Secret(it)) } }

/** Headers as people take them. */
internal fun List<Header>.toMap(): Map<String, String> = associate { (name, value) -> name to value.expose() }
