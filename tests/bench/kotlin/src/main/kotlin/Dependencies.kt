import java.io.File

/** The jars that come with a dependency, by the graph that Maven wrote beside the classes. */
internal object Dependencies {
    private val classPath = System.getProperty("java.class.path").split(File.pathSeparator).map(::File).filter { it.extension == "jar" }
    private val names: Map<String, String>
    private val edges: Map<String, List<String>>

    init {
        // Trivial graph format: a line for each node, `#`, a line for each edge. One artefact has a node wherever it is asked for.
        val target = File(Dependencies::class.java.protectionDomain.codeSource.location.toURI()).parentFile
        val (nodes, arrows) = File(target, "dependencies.tgf").readText().split("\n#\n")
        names = nodes.lines().associate { line ->
            val (node, artefact) = line.split(" ", limit = 2)
            // In brackets where Maven took another version of it.
            val (group, name) = artefact.trim('(').split(":")
            node to "$group:$name"
        }
        edges = arrows.trim().lines().map { it.split(" ") }.groupBy({ names.getValue(it[0]) }, { names.getValue(it[1]) })
    }

    /** The jar of [root], given as `group:artefact`, and of all that it needs. */
    fun of(root: String): Set<File> {
        val found = mutableSetOf<String>()
        val open = ArrayDeque(listOf(root))
        while (open.isNotEmpty()) {
            val next = open.removeFirst()
            if (found.add(next)) open += edges[next].orEmpty()
        }
        return found.mapNotNull(::jar).toSet()
    }

    /** None for an artefact that only stands for others. */
    fun jar(artefact: String): File? {
        val name = artefact.substringAfter(':')
        return classPath.find { Regex("${Regex.escape(name)}-\\d.*\\.jar").matches(it.name) }
    }
}
