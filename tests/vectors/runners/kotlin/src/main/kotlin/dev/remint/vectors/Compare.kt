package dev.remint.vectors

import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import java.net.URLDecoder

internal fun difference(at: String, expected: Any?, came: Any?): String = "    $at\n      expected $expected\n      came     $came"

/** An absent field of an object is not compared; `null` stands for absence. */
internal fun subset(at: String, expected: JsonElement, came: JsonElement?, differences: MutableList<String>) {
    when {
        expected is JsonObject && came is JsonObject ->
            for ((name, value) in expected) {
                val place = "$at.$name"
                when {
                    name == "headers" -> compareHeaders(place, value, came[name], differences)
                    name == "body" -> compareBody(place, value, came[name], differences)
                    name == "body_bytes" -> subset(place, value, came["body"], differences)
                    name == "names" && "fail" in came -> compareNames(place, value, came, differences)
                    else -> subset(place, value, came[name], differences)
                }
            }
        expected is JsonArray && came is JsonArray && expected.size == came.size ->
            expected.forEachIndexed { index, value -> subset("$at[$index]", value, came[index], differences) }
        !same(expected, came) -> differences += difference(at, expected, came)
    }
}

/** Numbers by their value, whichever way they are written; everything else as it is. */
private fun same(expected: JsonElement, came: JsonElement?): Boolean {
    if (expected is JsonNull || came == null || came is JsonNull) return expected is JsonNull && (came == null || came is JsonNull)
    if (expected !is JsonPrimitive || came !is JsonPrimitive) return expected == came
    if (expected.isString || came.isString || expected.booleanOrNull != null || came.booleanOrNull != null) return expected == came
    return expected.content.toBigDecimal().compareTo(came.content.toBigDecimal()) == 0
}

/** A list of pairs is the whole list, in any order; an object names some lines, `null` one that must not be there. */
private fun compareHeaders(at: String, expected: JsonElement, came: JsonElement?, differences: MutableList<String>) {
    val lines = readLines(came)
    if (expected is JsonObject) {
        for ((name, value) in expected) {
            val found = lines.filter { it.first.equals(name, ignoreCase = true) }.map { it.second }
            if (found != listOfNotNull(value.asText())) differences += difference("$at.$name", value, found)
        }
        return
    }
    fun plain(lines: List<Pair<String, String>>) = lines.map { (name, value) -> name.lowercase() to value }.sortedWith(compareBy({ it.first }, { it.second }))
    if (plain(readLines(expected)) != plain(lines)) differences += difference(at, expected, came)
}

/** Neither the order of a form's fields nor the choice between `.` and `%2E` means anything. */
private fun compareBody(at: String, expected: JsonElement, came: JsonElement?, differences: MutableList<String>) {
    fun fields(text: String) = formFields(text).sortedBy { it.first }
    val (wanted, given) = expected.asText() to came.asText()
    val same = if (wanted == null || given == null) wanted == given else fields(wanted) == fields(given)
    if (!same) differences += difference(at, expected, came)
}

/** An error's words are no contract, but what they name is. */
private fun compareNames(at: String, expected: JsonElement, failure: JsonObject, differences: MutableList<String>) {
    val words = "${failure["message"].asText()}: ${failure["hint"].asText()}"
    if (expected.asText()?.let { it in words } != true) differences += difference(at, expected, words)
}

internal fun formFields(text: String): List<Pair<String, String>> =
    text.split('&').filter(String::isNotEmpty).map { field ->
        val (name, value) = field.split('=', limit = 2).let { it[0] to it.getOrElse(1) { "" } }
        URLDecoder.decode(name, Charsets.UTF_8) to URLDecoder.decode(value, Charsets.UTF_8)
    }

internal val OUTPUTS = arrayOf("answer", "operations", "settled", "withdraw", "request", "token", "client", "deleted", "fail")

internal fun compareOutcome(expected: JsonObject, outcome: JsonObject): List<String> {
    val differences = mutableListOf<String>()
    for (name in OUTPUTS) {
        val wanted = expected[name]
        when {
            wanted != null -> subset(name, wanted, outcome[name], differences)
            name in outcome -> differences += difference(name, "nothing", outcome[name])
        }
    }
    val listed = texts(expected["notices"])
    val came = texts(outcome["notices"])
    if (!sameNotices(listed, came)) differences += difference("notices", listed, came)
    return differences
}

internal fun texts(list: JsonElement?): List<String> = (list as? JsonArray).orEmpty().map { it.asText() ?: throw Problem("  `$it` is no text") }

/** A notice is `code` or `code:detail`; a code alone leaves the detail open. */
internal fun sameNotices(expected: List<String>, came: List<String>): Boolean =
    expected.size == came.size && expected.zip(came).all { (text, here) -> text == here || here.startsWith("$text:") }

/** Nothing secret may be in an error, a notice or the URL of a token request. */
internal fun leaks(outcome: JsonObject, canaries: List<String>): List<String> {
    val places = mutableListOf("fail" to outcome["fail"], "notices" to outcome["notices"])
    (outcome["answer"] as? JsonObject)?.takeIf { "fail" in it }?.let { places += "answer" to it }
    for (operation in (outcome["operations"] as? JsonArray).orEmpty()) {
        places += "operations.request.url" to ((operation as JsonObject)["request"] as? JsonObject)?.get("url")
    }
    return canaries.flatMap { canary ->
        places.filter { (_, value) -> canary in value.toString() }.map { (at, value) -> "    $at\n      shows the secret `$canary`: $value" }
    }
}
