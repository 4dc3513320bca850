package appliance

import "lazaret/internal/disk"

// Watch makes the watch of what is kept in the directory under a name, for the
// log and for status.
func (a *Appliance) Watch(what string) *disk.Watch {
	w := disk.NewWatch(what, a.Log)
	a.disks = append(a.disks, w)
	return w
}

// troubles says what is wrong with the disk, for status.
func (a *Appliance) troubles() (all []string) {
	for _, w := range a.disks {
		if s := w.State(); s != "" {
			all = append(all, s)
		}
	}
	return all
}
