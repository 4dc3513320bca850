package filter

import "lazaret/internal/filter/match"

// prepare sorts the conditions by cost, numbers the body rules and looks for
// what is probably not meant.
func (s *Set) prepare() {
	for _, f := range s.filters {
		f.root.order()
		w := &warner{set: s, filter: f.name}
		w.block([]statement{f.root}, path{})
	}
	s.gather()
}

// gather numbers the body rules of the filters that can run, and sums up what
// they need of a message.
func (s *Set) gather() {
	s.bodies, s.want, s.unseen = nil, Want{}, false
	for _, f := range s.filters {
		if !f.active || f.invalid != "" {
			continue
		}
		f.root.eachRule(func(r *rule) {
			s.unseen = s.unseen || r.word == "unscannable"
			s.want.Files = s.want.Files || r.word == "attachment-size" || r.word == "attachment-filetype"
			s.want.Inside = s.want.Inside || r.looksInside()
			if r.body != nil {
				s.want.Binary = s.want.Binary || r.body.Where == match.Bytes
				r.body.Index = len(s.bodies)
				s.bodies = append(s.bodies, r.body)
			}
		})
		f.root.eachAction(func(a *action) {
			for _, arg := range a.args {
				s.want.Files = s.want.Files || arg.tmpl.uses("filesizes", "filetypes")
			}
			if a.texts != nil {
				s.want.Files = s.want.Files || a.texts.plain.uses("filesizes", "filetypes") || a.texts.html.uses("filesizes", "filetypes")
			}
			if a.dropping() {
				s.want.Files = true
				s.want.Inside = s.want.Inside || a.word != "drop-attachments-by-size"
			}
			if a.body != nil {
				a.body.Index = len(s.bodies)
				s.bodies = append(s.bodies, a.body)
			}
		})
	}
	s.texts = match.NewSet(s.bodies)
}

func (i *ifStmt) order() {
	i.cond.order()
	for _, list := range [][]statement{i.then, i.els} {
		for _, st := range list {
			if sub, ok := st.(*ifStmt); ok {
				sub.order()
			}
		}
	}
}

// path is what happened on the way to a statement.
type path struct {
	quarantined bool // perhaps
	ended       bool // for certain, by a final action
}

type warner struct {
	set    *Set
	filter string
}

func (w *warner) warn(a *action, msg string) {
	w.set.warnings = append(w.set.warnings, Warning{Line: a.line, Column: a.col, Filter: w.filter, Msg: msg})
}

// block follows the statements and gives what holds behind them.
func (w *warner) block(list []statement, p path) path {
	for _, st := range list {
		switch st := st.(type) {
		case *ifStmt:
			then, els := w.block(st.then, p), w.block(st.els, p)
			p = path{
				quarantined: then.quarantined && !then.ended || els.quarantined && !els.ended,
				ended:       then.ended && els.ended,
			}
		case *action:
			if p = w.action(st, p); p.ended {
				if next := after(list, st); next != nil {
					w.warn(next, next.word+"() is never reached: "+st.word+"() before it is final")
				}
				return p
			}
		}
	}
	return p
}

// after gives the first action behind st in the list.
func after(list []statement, st *action) *action {
	for i, s := range list {
		if s != statement(st) || i+1 == len(list) {
			continue
		}
		var next *action
		rest := &ifStmt{then: list[i+1:]}
		rest.eachAction(func(a *action) {
			if next == nil {
				next = a
			}
		})
		return next
	}
	return nil
}

func (w *warner) action(a *action, p path) path {
	switch a.word {
	case "quarantine":
		p.quarantined = true
	case "deliver":
		if p.quarantined {
			w.warn(a, "deliver() after quarantine() in the same filter defeats the quarantine: the message is delivered")
		}
		p.ended = true
	case "drop", "bounce":
		if p.quarantined {
			w.warn(a, a.word+"() after quarantine() defeats the quarantine: the message is gone")
		}
		p.ended = true
	case "skip-filters":
		p.ended = true
	}
	return p
}
