package dev.remint.hosts

import kotlin.system.exitProcess

/** Runs all tests, or those whose names have one of the given words. */
fun main(words: Array<String>) {
    val suite = Suite()
    suite.crowds()
    suite.soak()
    suite.faults()
    suite.providers()
    suite.calls()
    suite.endings()
    exitProcess(if (suite.run(words.toList())) 0 else 1)
}
