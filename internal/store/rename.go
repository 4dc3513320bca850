package store

import "context"

// Rename implements quarantine.Calendar. Messages that somebody has loaded get a
// new version: a change that was planned under the old name is planned again.
func (s *Store) Rename(ctx context.Context, from, to string, limit int) (n int, err error) {
	// The same set in each statement: nothing else runs between them, and the
	// last one ends it. (quarantine, mid) is unique.
	const these = `(SELECT b.mid FROM membership b WHERE b.quarantine = $1
		AND NOT EXISTS (SELECT 1 FROM membership o WHERE o.mid = b.mid AND o.quarantine = $2) ORDER BY b.mid LIMIT $3)`
	err = s.do(ctx, true, func(t *tx) error {
		if err := t.exec("UPDATE message SET version = version + 1 WHERE mid IN "+these, from, to, limit); err != nil {
			return err
		}
		var held, bytes, newest int64
		_, err := t.row(`SELECT COUNT(*), COALESCE(SUM(m.size), 0), COALESCE(MAX(h.entered), 0) FROM membership h JOIN message m ON m.mid = h.mid
			WHERE h.quarantine = $1 AND h.state = 0 AND h.mid IN `+these, []any{from, to, limit}, &held, &bytes, &newest)
		if err != nil {
			return err
		}
		t.count(from, -held, -bytes, fromMS(0))
		t.count(to, held, bytes, fromMS(newest))
		changed, err := t.execN("UPDATE membership SET quarantine = $2 WHERE quarantine = $1 AND mid IN "+these, from, to, limit)
		n = int(changed)
		return err
	})
	return n, err
}
