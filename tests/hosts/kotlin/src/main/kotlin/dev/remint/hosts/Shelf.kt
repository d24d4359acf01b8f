package dev.remint.hosts

import dev.remint.Store
import dev.remint.core.Secret
import dev.remint.core.StoreCommand
import dev.remint.core.StoreResult
import java.util.concurrent.CopyOnWriteArrayList

/** A shared store in the memory of one process. */
internal class Shelf : Store {
    private val records = HashMap<String, Secret>()
    private val locks = HashMap<String, String>()
    private var fences = 0L

    val commands = CopyOnWriteArrayList<String>()
    val isUnlocked: Boolean get() = synchronized(this) { locks.isEmpty() && records.isNotEmpty() }

    override fun handle(key: String, command: StoreCommand): StoreResult = synchronized(this) {
        commands += command::class.simpleName.orEmpty()
        val record = records[key]
        when (command) {
            is StoreCommand.Load -> if (record == null) StoreResult.Missing else StoreResult.Found(record)
            is StoreCommand.Lock -> if (command.ttl == 0L) {
                locks.remove(key)
                StoreResult.Ok
            } else {
                locks[key] = command.owner
                StoreResult.Locked(record, ++fences)
            }
            is StoreCommand.Save -> {
                records[key] = command.record
                if (command.unlock) locks.remove(key)
                StoreResult.Ok
            }
            is StoreCommand.Delete -> {
                records.remove(key)
                StoreResult.Ok
            }
        }
    }
}
