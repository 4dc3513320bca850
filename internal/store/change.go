package store

import (
	"context"
	"database/sql"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// Change implements quarantine.Store.
func (s *Store) Change(ctx context.Context, changes []quarantine.Change) ([]bool, error) {
	made := make([]bool, len(changes))
	err := s.askTo(ctx, func(t *tx) error {
		clear(made)
		for at := 0; at < len(changes); {
			n := distinct(changes[at:])
			if err := t.changeAll(changes[at:at+n], made[at:at+n]); err != nil {
				return err
			}
			at += n
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// distinct gives how many changes, from the first, are of different messages:
// so many can be made by one statement.
func distinct(changes []quarantine.Change) int {
	seen := make(map[mail.MID]struct{}, len(changes))
	for i := range changes {
		mid := changes[i].After.MID
		if _, ok := seen[mid]; ok {
			return i
		}
		seen[mid] = struct{}{}
	}
	return len(changes)
}

// changeAll makes compare-and-set of many messages, each by itself, with few
// statements for all.
func (t *tx) changeAll(changes []quarantine.Change, made []bool) error {
	if err := t.changeRecords(changes, made); err != nil {
		return err
	}
	var members []any
	var gone []*quarantine.Record
	for k := range changes {
		c := &changes[k]
		if !made[k] {
			continue
		}
		r := c.After
		t.holds(c.Before.State, -1, r.Size)
		t.holds(r.State, 1, r.Size)
		for _, i := range c.Members {
			m := &r.Memberships[i]
			members = append(members, membershipArgs(r.MID, i, m)...)
			if c.Came(i) {
				t.count(m.Quarantine, 1, r.Size, m.Entered)
			} else if c.Went(i) {
				t.count(m.Quarantine, -1, -r.Size, time.Time{})
			}
		}
		if r.State.Final() && !c.Before.State.Final() {
			gone = append(gone, r)
		}
	}
	if err := t.saveMemberships(members); err != nil {
		return err
	}
	for k := range changes {
		if made[k] {
			if err := t.release(&changes[k]); err != nil {
				return err
			}
		}
	}
	for _, r := range gone {
		if t.s.texts.Load() { // it goes with the content
			if err := t.exec("DELETE FROM body WHERE mid = $1", int64(r.MID)); err != nil {
				return err
			}
		}
		if err := t.unlink(r.Hash[:]); err != nil {
			return err
		}
	}
	return nil
}

// changeRecords makes the changes whose version still holds, and notes which: at
// a server with one statement for many, in SQLite, where that takes twice as
// long, with one for each.
func (t *tx) changeRecords(changes []quarantine.Change, made []bool) error {
	if t.s.d.shared() {
		return t.changeMany(changes, made)
	}
	for k := range changes {
		n, err := t.execN(`UPDATE message SET state = $1, changed = $2, actions = $3, until = $4, decision = $5,
			hold_at = $6, hold_by = $7, hold_why = $8, latest = $9, version = version + 1 WHERE mid = $10 AND version = $11`,
			append(changed(changes[k].After), int64(changes[k].After.MID), int64(changes[k].Before.Version))...)
		if err != nil {
			return err
		}
		made[k] = n > 0
	}
	return nil
}

// changed gives the columns that a change writes.
func changed(r *quarantine.Record) []any {
	return []any{int(r.State), ms(r.Changed), int64(r.Actions), ms(r.Until), int64(r.Decision), ms(r.Hold.At), r.Hold.By, r.Hold.Why, ms(r.Latest())}
}

// changeMany is changeRecords at a server. The types of the first row are those
// of all; a server asks for them.
func (t *tx) changeMany(changes []quarantine.Change, made []bool) error {
	types := []string{"BIGINT", "BIGINT", "SMALLINT", "BIGINT", "BIGINT", "BIGINT", "BIGINT", "BIGINT", "TEXT", "TEXT", "BIGINT"}
	args := make([]any, 0, len(types)*len(changes))
	at := make(map[int64]int, len(changes))
	for k := range changes {
		r := changes[k].After
		at[int64(r.MID)] = k
		args = append(append(args, int64(r.MID), int64(changes[k].Before.Version)), changed(r)...)
	}
	f := form{head: `UPDATE message SET state = v.column3, changed = v.column4, actions = v.column5, until = v.column6, decision = v.column7,
		hold_at = v.column8, hold_by = v.column9, hold_why = v.column10, latest = v.column11, version = version + 1 FROM (VALUES `,
		tail: `) AS v WHERE message.mid = v.column1 AND message.version = v.column2 RETURNING mid`, columns: len(types), rows: true, types: types}
	return t.split(f, args, func(query string, args []any) error {
		return t.each(query, args, func(rows *sql.Rows) error {
			var mid int64
			err := rows.Scan(&mid)
			made[at[mid]] = true
			return err
		})
	})
}

// saveMemberships writes memberships, given by membershipArgs.
func (t *tx) saveMemberships(args []any) error {
	_, err := t.insert("INSERT INTO membership ("+membershipColumns+")", membershipConflict, membershipWidth, args)
	return err
}

// release writes what is to be done about a release, and what was heard of it.
func (t *tx) release(c *quarantine.Change) error {
	if c.Intent != nil {
		if err := t.intend(c.After, c.Intent); err != nil {
			return err
		}
	}
	for _, i := range c.Proofs {
		if err := t.saveProof(c.After.MID, i, &c.After.Release[i]); err != nil {
			return err
		}
	}
	return nil
}
