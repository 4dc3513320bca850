package admin

import (
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

func (q Quarantines) editQuarantine(c *Call) error {
	name, err := q.pickQuarantine(c, "Enter the number of the quarantine you wish to edit.")
	if err != nil {
		return err
	}
	conf, _ := q.Config.Pending()
	old := conf.Quarantines[slices.IndexFunc(conf.Quarantines, func(s config.Quarantine) bool { return s.Name == name })]
	var words []string
	if c.Batch {
		words, c.Args = c.Args, nil
	} else if words, err = askQuarantine(c, old); err != nil {
		return err
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return Usage("edit needs a setting and its value")
	}
	return q.Config.Change(c.Principal, "edit quarantine "+quoted(append([]string{name}, words...)), func(next *config.Config) error {
		i := slices.IndexFunc(next.Quarantines, func(s config.Quarantine) bool { return s.Name == name })
		if i < 0 {
			return errs.New(errs.NotFound, "there is no quarantine %q", name)
		}
		for w := 0; w < len(words); w += 2 {
			if err := setQuarantine(&next.Quarantines[i], strings.ToLower(words[w]), words[w+1]); err != nil {
				return err
			}
		}
		return nil
	})
}

// askQuarantine asks for each setting with what it is as default.
func askQuarantine(c *Call, old config.Quarantine) (words []string, err error) {
	for _, f := range []struct{ name, question, def string }{
		{"retention", "How long are messages kept? (10d, 12h)", old.Retention},
		{"action", "What becomes of them then? (Delete, Release)", old.Action},
		{"exempt", "Do they stay when the pool is full? (yes, no)", yesNo(old.Exempt)},
		{"release_clean", "Are they released when they are scanned again and found clean? (yes, no)", yesNo(old.Clean)},
		{"users", "Users who may work in it, between commas, or none:", textOr(strings.Join(old.Users, ","), "none")},
		{"roles", "Roles that may, between commas, or none:", textOr(strings.Join(old.Roles, ","), "none")},
		{"early_subject", "What is put into the subject when they are released to make room? (or none)", textOr(old.Tag, "none")},
		{"early_subject_place", "Where? (start, end)", textOr(old.Place, "start")},
		{"early_header", "And which header is added? (X-Name: value, or none)", textOr(old.Header, "none")},
		{"early_strip", "Are attachments stripped then? (yes, no)", yesNo(old.Strip)},
	} {
		answer, err := c.Ask(f.question, f.def)
		if err != nil {
			return nil, err
		}
		words = append(words, f.name, answer)
	}
	return words, nil
}

func setQuarantine(s *config.Quarantine, name, value string) error {
	switch name {
	case "retention":
		s.Retention = value
	case "action":
		s.Action = actionWord(value)
	case "exempt":
		return setFlag(&s.Exempt, name, value)
	case "release_clean":
		return setFlag(&s.Clean, name, value)
	case "early_strip":
		return setFlag(&s.Strip, name, value)
	case "early_subject":
		s.Tag = textOrNone(value)
	case "early_header":
		s.Header = textOrNone(value)
	case "early_subject_place":
		if s.Place = strings.ToLower(value); s.Place == "start" {
			s.Place = ""
		}
	case "users":
		s.Users = listOf(value)
	case "roles":
		s.Roles = listOf(value)
	case "former_names":
		s.Former = listOf(value)
	default:
		return Usage("a quarantine has no setting %q", name)
	}
	return nil
}

// renameQuarantine gives a quarantine another name and keeps the one it had for
// those who use it. A former name that comes back is one no more.
func (q Quarantines) renameQuarantine(c *Call) error {
	name, err := q.pickQuarantine(c, "Enter the number of the quarantine you wish to rename.")
	if err != nil {
		return err
	}
	to, err := c.Ask("Enter its new name.", "")
	if err != nil {
		return err
	}
	return q.Config.Change(c.Principal, "rename quarantine "+quoted([]string{name, to}), func(next *config.Config) error {
		i := slices.IndexFunc(next.Quarantines, func(s config.Quarantine) bool { return s.Name == name })
		switch {
		case i < 0:
			return errs.New(errs.NotFound, "there is no quarantine %q", name)
		case to == name:
			return errs.New(errs.Invalid, "quarantine %q has that name", name)
		case next.Quarantines[i].Kind != string(quarantine.KindPolicy) || name == quarantine.Policy:
			return errs.New(errs.Invalid, "quarantine %q is the system's own and cannot be renamed", name)
		}
		s := &next.Quarantines[i]
		s.Former = slices.DeleteFunc(append(slices.Clone(s.Former), name), func(n string) bool { return n == to })
		s.Name = to
		return nil
	})
}

func setFlag(to *bool, name, value string) error {
	switch strings.ToLower(value) {
	case "yes", "y":
		*to = true
	case "no", "n":
		*to = false
	default:
		return Usage("%s is yes or no, not %q", name, value)
	}
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func textOrNone(s string) string {
	if strings.EqualFold(s, "none") {
		return ""
	}
	return s
}

// earlyWords says what is done to what is released early.
func earlyWords(s config.Quarantine) string {
	var all []string
	if s.Tag != "" {
		all = append(all, "subject "+textOr(s.Place, "start")+" "+strconv.Quote(s.Tag))
	}
	if s.Header != "" {
		all = append(all, "header "+s.Header)
	}
	if s.Strip {
		all = append(all, "attachments stripped")
	}
	return strings.Join(all, "; ")
}

// listOf reads names between commas; none is none.
func listOf(s string) (out []string) {
	if strings.EqualFold(s, "none") {
		return nil
	}
	for _, n := range strings.Split(s, ",") {
		if n = strings.TrimSpace(n); n != "" {
			out = append(out, n)
		}
	}
	return out
}
