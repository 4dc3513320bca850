package store

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"lazaret/internal/quarantine"
)

// What an earlier version held is indexed behind the upgrade, by whichever
// manager is there, once; meanwhile and afterwards it is found.
func TestPostgresIndexesOldMessages(t *testing.T) {
	dsn, c := newDatabase(t), &memContents{}
	a := openAs(t, dsn, c, "M1")
	const n = 60
	for i := range n {
		r := record(t, a, c, i, fmt.Sprint("body", i), "Policy")
		r.Display = fmt.Sprintf("subject 請求 %03d", i)
		add(t, a, r)
	}
	found := func(s *Store, text string) int {
		list, err := find(s, quarantine.Query{Subject: quarantine.Text{Text: text}})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	count := func(table string) (k int) {
		if err := a.read.QueryRow("SELECT COUNT(*) FROM " + table).Scan(&k); err != nil {
			t.Fatal(err)
		}
		return k
	}
	if k := count("search"); k != n || count("pending") != 0 {
		t.Fatalf("%d of %d are indexed with their records", k, n)
	}
	db, err := (&pgDialect{}).openDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// as migration 10 leaves it
	if _, err := db.Exec("DELETE FROM search; INSERT INTO pending (mid) SELECT mid FROM message; UPDATE message SET folded = upper(folded)"); err != nil {
		t.Fatal(err)
	}
	if k := found(a, "請求"); k != n {
		t.Errorf("%d are found while they wait for the index", k)
	}
	b := openAs(t, dsn, c, "M2")
	var wg sync.WaitGroup
	for _, s := range []*Store{a, b} {
		wg.Go(func() {
			for more := true; more; {
				var err error
				if more, err = s.indexSome(ctx, 7); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	until(t, func() bool { return count("search") == n && count("pending") == 0 }) // the loop of b took some
	if k := found(b, "SUBJECT 請求 0"); k != n {
		t.Errorf("%d are found by the index", k)
	}
	if k := found(a, "請求 017"); k != 1 {
		t.Errorf("%d are found by the rare text", k)
	}
}

// A rare text goes by the index, whatever the number of messages.
func TestPostgresIndexIsUsed(t *testing.T) {
	s := openPostgres(t, newDatabase(t), &memContents{})
	db, err := (&pgDialect{}).openDSN(s.opt.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("INSERT INTO search SELECT i, array_append(ARRAY(SELECT generate_series(1, 100)), 1000 + i) FROM generate_series(1, 20000) i; ANALYZE search"); err != nil {
		t.Fatal(err)
	}
	f := search{q: &quarantine.Query{}, filter: where{d: s.d}, terms: []term{5000}}
	p := f.byIndex().pages[0]
	rows, err := db.Query("EXPLAIN "+p.query+" AND rowid > $2 AND rowid < $3 ORDER BY 1 DESC LIMIT $4", append(p.args, 0, 1<<40, 64)...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	plan := ""
	for rows.Next() {
		var step sql.RawBytes
		if err := rows.Scan(&step); err != nil {
			t.Fatal(err)
		}
		plan += string(step) + "\n"
	}
	if !strings.Contains(plan, "search_terms") {
		t.Error(plan)
	}
}
