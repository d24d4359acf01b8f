import java.util.Locale
import java.util.concurrent.atomic.AtomicReference
import kotlin.math.max
import kotlin.math.roundToInt
import kotlinx.coroutines.runBlocking

// Rounds: each measures everybody once, so that whatever else the machine does hits all alike, and only what was measured in
// one round is compared.

/** Something to do, and how long it takes. [target]: how many times as long as ours it has to take at least. */
internal abstract class Work(val name: String, val target: Double?) {
    /** The nanoseconds that one of [count] repetitions takes. */
    abstract fun time(count: Int): Double
}

/** Inlined, so that each work has a loop of its own: a shared one would call through a table, which costs as much as reading a clock. */
internal inline fun work(name: String, target: Double? = null, crossinline run: () -> Any?): Work = object : Work(name, target) {
    override fun time(count: Int): Double {
        val start = System.nanoTime()
        repeat(count) { sink.setOpaque(run()) }
        return (System.nanoTime() - start).toDouble() / count
    }
}

/** The same in a coroutine. */
internal inline fun suspendingWork(name: String, target: Double? = null, crossinline run: suspend () -> Any?): Work =
    object : Work(name, target) {
        override fun time(count: Int): Double = runBlocking {
            val start = System.nanoTime()
            repeat(count) { sink.setOpaque(run()) }
            (System.nanoTime() - start).toDouble() / count
        }
    }

/** Where results go: a store that the compiler may neither leave out nor move out of the loop. */
@PublishedApi
internal val sink = AtomicReference<Any?>()

/** Prints how long we take, and how much longer the others do. */
internal fun compare(title: String, ours: Work, vararg others: Work) {
    val all = listOf(ours, *others)
    // All are compiled before anybody is measured, or the first would be measured in code that is compiled once more later.
    repeat(WARM_UPS) { all.forEach { it.time(enough(it)) } }
    val counts = all.map(::enough)
    val rounds = List(ROUNDS) { all.zip(counts).map { (work, count) -> work.time(count) } }
    report(title, "ns", rounds, all)
}

/** The same table for what was measured elsewhere: one number for each subject in each round. */
internal fun report(title: String, unit: String, rounds: List<List<Double>>, all: List<Work>) {
    val own = median(rounds.map { it.first() })
    println("\n| $title | $unit | as long as ours | target | |\n|---|---:|---:|---:|---|\n| ${all.first().name} | ${grouped(own)} | | | |")
    for ((at, other) in all.withIndex().drop(1)) {
        val ratio = median(rounds.map { it[at] / it.first() })
        val verdict = other.target?.let { "${plain(it)} × | ${if (ratio >= it) "met" else "missed"}" } ?: " | "
        println("| ${other.name} | ${grouped(own * ratio)} | ${"%.2f".format(Locale.ROOT, ratio)} × | $verdict |")
    }
}

/** Something that has to stay below a limit. */
internal class Limit(val name: String, val value: Double, val unit: String, val limit: Double? = null)

internal fun limits(title: String, rows: List<Limit>) {
    println("\n| $title | | target | |\n|---|---:|---:|---|")
    for (row in rows) {
        val verdict = row.limit?.let { "${plain(it)} ${row.unit} | ${if (row.value <= it) "met" else "missed"}" } ?: " | "
        println("| ${row.name} | ${grouped(row.value)} ${row.unit} | $verdict |")
    }
}

internal fun median(values: List<Double>): Double = values.sorted()[values.size / 2]

internal fun grouped(number: Double): String = (if (number < 100 && number % 1 != 0.0) "%,.1f" else "%,.0f").format(Locale.ROOT, number)

/** A limit as it was given. */
private fun plain(number: Double) = if (number % 1 == 0.0) "%.0f".format(Locale.ROOT, number) else "$number"

/** How often something is done in one round. */
private fun enough(work: Work): Int {
    var count = 8
    while (true) {
        val nanoseconds = work.time(count) * count
        if (nanoseconds >= ROUND_NANOSECONDS) return max(8, (count * ROUND_NANOSECONDS / nanoseconds).roundToInt())
        count *= 2
    }
}

private const val WARM_UPS = 100
private const val ROUNDS = 51
private const val ROUND_NANOSECONDS = 4_000_000
