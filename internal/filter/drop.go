package filter

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
)

// dropping reports whether an action takes out those attachments that match.
func (a *action) dropping() bool {
	return strings.HasPrefix(a.word, "drop-attachments-by-") || a.where()
}

// where reports whether it goes by what is in them.
func (a *action) where() bool { return strings.HasPrefix(a.word, "drop-attachments-where-") }

// maxThreshold is the largest of them.
const maxThreshold = match.MaxThreshold

// prepare makes what an action looks for ready.
func (a *action) prepare() error {
	if !a.where() {
		return nil
	}
	a.body = &match.Rule{Where: match.WhichAttachments, Least: 1}
	if len(a.args) > 2 {
		a.body.Least = int(a.args[2].n)
	}
	if a.word == "drop-attachments-where-contains" {
		a.body.Terms = []match.Term{a.args[0].term}
	}
	return nil
}

// maxDropped bounds the attachments that one filter run takes out one by one.
const maxDropped = 200

// drop takes out the attachments that match, with all that is in them: a file in
// an archive takes the archive along.
func (r *run) drop(ctx context.Context, a *action) error {
	if err := r.readContent(ctx); err != nil {
		return err
	}
	var which []string
	if a.where() {
		which = r.window.Which(a.body.Index)
	}
	any := false
	for _, f := range slices.Concat(r.content.Files, r.content.Boxes) {
		if !a.hits(&f, which) {
			continue
		}
		top := r.outermost(&f)
		if len(r.out.Body) >= maxDropped { // all of them is never too few
			r.out.Extras = append(r.out.Extras, mail.Extras{Strip: true})
			any = true
			break
		}
		e := mail.BodyEdit{Kind: mail.DropPart, By: r.by(a.word)}
		e.Part, e.Loose = top.place()
		if len(a.args) > 1 {
			r.dropped = top
			e.Text = a.args[1].tmpl.expand(r.value)
			r.dropped = nil
		}
		r.out.Edit(e)
		any = true
	}
	if any {
		r.out.EditedBy = r.by(a.word)
	}
	return nil
}

// outermost gives the attachment that a file is, or is in.
func (r *run) outermost(f *File) *File {
	for _, list := range [][]File{r.content.Files, r.content.Boxes} {
		for i := range list {
			if f.In != "" && list[i].Part == f.In {
				return &list[i]
			}
		}
	}
	return f
}

// place gives where the attachment stands: the path of its part, and whether it
// is only something in the text there. Part ends with the role of a part: 0 is
// a part of its own, 1 a container.
func (f *File) place() (path string, loose bool) {
	path, role, _ := strings.Cut(f.Part, "/")
	return path, role != "0" && role != "1"
}

// hits reports whether an action is about a file.
func (a *action) hits(f *File, which []string) bool {
	re := a.args[0].re
	switch a.word {
	case "drop-attachments-by-name":
		return slices.ContainsFunc(f.Names, re.MatchString)
	case "drop-attachments-by-type", "drop-attachments-by-mimetype":
		return slices.ContainsFunc(f.Types, re.MatchString)
	case "drop-attachments-by-filetype":
		return slices.ContainsFunc(f.Kinds, re.MatchString)
	case "drop-attachments-by-size":
		return f.In == "" && f.Size >= a.args[0].n
	}
	return f.In == "" && slices.Contains(which, f.Part)
}

// droppedVariables stand for an attachment in the notice that takes its place.
var droppedVariables = [...]string{"dropped_filename", "dropped_filetype", "dropped_filesize"}

func (f *File) droppedVariable(name string) string {
	switch {
	case name == "dropped_filesize":
		return strconv.FormatInt(f.Size, 10)
	case name == "dropped_filetype" && len(f.Types) > 0:
		return f.Types[0]
	case name == "dropped_filename" && len(f.Names) > 0:
		return f.Names[0]
	}
	return ""
}
