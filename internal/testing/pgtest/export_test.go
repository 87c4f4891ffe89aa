package pgtest

import "time"

// SetGrace sets how long a connection of db may take to end its transaction after the test.
func (db *DB) SetGrace(d time.Duration) { db.grace = d }
