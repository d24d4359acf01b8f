/** One fresh process: prints the milliseconds from the start of `main` to the first token of the source named first. */
internal object Cold {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val (name, endpoint) = arguments
        val start = System.nanoTime()
        check(SOURCES.getValue(name)(endpoint).token() == TOKEN)
        println((System.nanoTime() - start) / 1e6)
    }
}
