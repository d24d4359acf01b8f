package dev.remint.vectors

import kotlinx.serialization.SerializationException
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import java.nio.file.Files
import java.nio.file.Path
import kotlin.io.path.name
import kotlin.io.path.readText
import kotlin.io.path.relativeTo

/** What differs, or what is not understood. */
internal class Problem(message: String) : Exception(message)

/** Every `.json` below [directory] that is neither the schema nor the index, nor belongs to a runner. */
internal fun vectorFiles(directory: Path): List<Path> =
    Files.walk(directory).use { paths ->
        paths
            .filter { it.name.endsWith(".json") && it.name !in setOf("index.json", "schema.json") }
            .filter { path ->
                path.relativeTo(directory).toList().dropLast(1).map { it.name }
                    .none { it == "runners" || it == "node_modules" || it.startsWith(".") }
            }
            .sorted()
            .toList()
    }

/** A file holds one vector, a list of them, or an object with a list. */
internal fun vectorsOf(path: Path): List<JsonElement> {
    val content = try {
        Json.parseToJsonElement(path.readText())
    } catch (error: SerializationException) {
        throw Problem("  is not JSON: ${error.message}")
    }
    if (content is JsonArray) return content
    if (content !is JsonObject) throw Problem("  holds neither a vector nor a list of vectors")
    if ("vectors" !in content) return listOf(content)
    val fields = Fields("a file", content)
    fields.some("about", "\$schema")
    val vectors = fields.take("vectors")
    fields.end()
    return vectors as? JsonArray ?: throw Problem("  `vectors` must be a list")
}
