package dev.remint.hosts

import dev.remint.Conflict
import dev.remint.Held
import dev.remint.LockResult
import dev.remint.Locked
import dev.remint.SaveResult
import dev.remint.Saved
import dev.remint.Store
import java.time.Duration
import java.util.concurrent.CopyOnWriteArrayList

/** A shared store in the memory of one process. */
internal class Shelf : Store {
    private val records = HashMap<String, String>()
    private val locks = HashMap<String, String>()

    val commands = CopyOnWriteArrayList<String>()
    val isUnlocked: Boolean get() = synchronized(this) { locks.isEmpty() && records.isNotEmpty() }

    override fun load(key: String): String? = synchronized(this) {
        commands += "load"
        records[key]
    }

    override fun lock(key: String, owner: String, ttl: Duration): LockResult = synchronized(this) {
        commands += "lock"
        val holder = locks[key]
        when {
            ttl.isZero -> {
                locks.remove(key, owner)
                Locked(records[key])
            }
            holder != null && holder != owner -> Held(ttl, records[key])
            else -> {
                locks[key] = owner
                Locked(records[key])
            }
        }
    }

    override fun save(key: String, expect: String?, record: String, ttl: Duration, unlock: String?): SaveResult = synchronized(this) {
        commands += "save"
        if (records[key] != expect) return Conflict(records[key])
        records[key] = record
        if (unlock != null) locks.remove(key, unlock)
        Saved()
    }
}
