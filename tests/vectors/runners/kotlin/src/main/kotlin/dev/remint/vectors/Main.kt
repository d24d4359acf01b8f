package dev.remint.vectors

import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import java.nio.file.Path
import kotlin.io.path.isDirectory
import kotlin.io.path.relativeTo
import kotlin.system.exitProcess

// Runs behaviour vectors against the Kotlin package: `java -cp … dev.remint.vectors.MainKt DIR`.
//
// Every vector runs on the step machine of `dev.remint.core`; those about callers run again through `Client`, with threads
// and with coroutines, with transport, clock and entropy injected. The format is described in README.md of the vectors. What
// a vector says and this runner does not understand is a failure, never a skip.

/** How many vectors passed and failed; what a failure was is printed at once. */
private class Counts {
    var passed = 0
        private set
    var failed = 0
        private set

    fun run(name: String, act: () -> Unit) {
        try {
            act()
            passed += 1
        } catch (problem: Problem) {
            fail(name, problem.message)
        } catch (error: Exception) {
            fail(name, error.stackTraceToString())
        }
    }

    fun fail(name: String, text: String?) {
        println("FAILED $name\n$text\n")
        failed += 1
    }
}

fun main(arguments: Array<String>) {
    val directory = arguments.singleOrNull()?.let(Path::of)?.takeIf { it.isDirectory() }
    if (directory == null) {
        System.err.println("a directory is expected: MainKt DIR")
        exitProcess(2)
    }
    val counts = Counts()
    for (path in vectorFiles(directory)) {
        val file = path.relativeTo(directory)
        val vectors = try {
            vectorsOf(path)
        } catch (problem: Problem) {
            counts.fail("$file", problem.message)
            continue
        }
        vectors.forEachIndexed { index, vector ->
            val members = vector as? JsonObject
            val place = members?.get("id").asText()?.let { "$file: $it" } ?: "$file #${index + 1}"
            val name = "$place: ${members?.get("title").asText()}"
            counts.run(name) { runOnMachine(vector) }
            if (members != null && isAboutCallers(members)) {
                for (host in listOf(Threads, Coroutines)) {
                    counts.run("$name (through ${host.title})") { runOnClient(members, host) }
                }
            }
        }
    }
    println("${counts.passed} passed, ${counts.failed} failed")
    // Threads of callers that a vector leaves waiting would keep the process.
    exitProcess(if (counts.passed > 0 && counts.failed == 0) 0 else 1)
}

private fun isAboutCallers(vector: Map<String, JsonElement>): Boolean =
    (vector["client"] as? JsonPrimitive)?.booleanOrNull ?: (vector["steps"] as? JsonArray).orEmpty().any { it is JsonObject && "drop" in it }
