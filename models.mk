# The shipped models from nothing, every step resumable: make -f models.mk  (some hours on two cores)
KD3D ?= .venv/bin/kd3d_core
# A training that was interrupted goes on where it stopped.
resume = $(if $(wildcard runs/$(1)/last.ckpt),--resume)

.PHONY: models data
models: kd3d_core/data/kd3d-tiny-int8.kd3d kd3d_core/data/kd3d-teacher.kd3d

data:
	$(KD3D) simulate data/shipped/train --config config/simulate/shipped_train.yaml
	$(KD3D) simulate data/shipped/val --config config/simulate/shipped_val.yaml
	$(KD3D) simulate data/multi/train --config config/simulate/multi_train.yaml
	$(KD3D) simulate data/multi/more --config config/simulate/multi_more.yaml
	$(KD3D) simulate data/multi/small --config config/simulate/multi_small.yaml
	$(KD3D) simulate data/multi/near --config config/simulate/multi_near.yaml
	$(KD3D) simulate data/multi/val --config config/simulate/multi_val.yaml
	$(KD3D) simulate data/multi/unseen --config config/simulate/multi_unseen.yaml

# Each part starts from the one before.
TEACHERS := shipped_teacher multi_teacher multi_teacher_sizes multi_teacher_more \
	multi_teacher_wide multi_teacher_cars multi_teacher_near
STUDENTS := shipped_student multi_student multi_student_sizes multi_student_more \
	multi_student_last multi_student_wide multi_student_cars multi_student_near \
	multi_student_more_near

$(TEACHERS:%=runs/%/model.ckpt): runs/%/model.ckpt: | data
	$(KD3D) train --config config/train/$*.yaml $(call resume,$*)

$(STUDENTS:%=runs/%/model.ckpt): runs/%/model.ckpt: | data
	$(KD3D) distill --config config/distill/$*.yaml $(call resume,$*)

runs/multi_teacher/model.ckpt: runs/shipped_teacher/model.ckpt
runs/multi_teacher_sizes/model.ckpt: runs/multi_teacher/model.ckpt
runs/multi_teacher_more/model.ckpt: runs/multi_teacher_sizes/model.ckpt
runs/multi_teacher_wide/model.ckpt: runs/multi_teacher_more/model.ckpt
runs/multi_teacher_cars/model.ckpt: runs/multi_teacher_wide/model.ckpt
runs/multi_teacher_near/model.ckpt: runs/multi_teacher_cars/model.ckpt
runs/shipped_student/model.ckpt: runs/shipped_teacher/model.ckpt
runs/multi_student/model.ckpt: runs/shipped_student/model.ckpt runs/multi_teacher/model.ckpt
runs/multi_student_sizes/model.ckpt: runs/multi_student/model.ckpt
runs/multi_student_more/model.ckpt: runs/multi_student_sizes/model.ckpt
runs/multi_student_more/model.ckpt: runs/multi_teacher_more/model.ckpt
runs/multi_student_last/model.ckpt: runs/multi_student_more/model.ckpt
runs/multi_student_wide/model.ckpt: runs/multi_student_last/model.ckpt
runs/multi_student_wide/model.ckpt: runs/multi_teacher_wide/model.ckpt
runs/multi_student_cars/model.ckpt: runs/multi_student_wide/model.ckpt
runs/multi_student_cars/model.ckpt: runs/multi_teacher_cars/model.ckpt
runs/multi_student_near/model.ckpt: runs/multi_student_cars/model.ckpt
runs/multi_student_near/model.ckpt: runs/multi_teacher_near/model.ckpt
runs/multi_student_more_near/model.ckpt: runs/multi_student_near/model.ckpt

# The shipped files took their parts up to multi_*_sizes on streets of the simulator as it was before
# clutter, shop fronts and small cars (2,400 sweeps), and the parts after them on those it makes now;
# multi_*_near saw the first 704 drives of multi_near.yaml, and multi_student_more_near went on from
# the bundle of multi_student_near (kd3d_core restore) instead of its checkpoint.

# Thresholds from simulated streets and sensors that no training saw: such are those of most robots.
CALIBRATE := --calibrate data/multi/unseen --calibrate-frames 384
AFTER := (config/simulate/multi_train.yaml, _more, _small and _near), after 2,400 of such \
	sensors and 1,600 of an HDL-64E (shipped_train.yaml)

kd3d_core/data/kd3d-teacher.kd3d: runs/multi_teacher_near/model.ckpt
	$(KD3D) export $< $@ --name kd3d-teacher $(CALIBRATE) \
		--data "10,232 simulated sweeps of 15 named LiDARs and 2,079 drawn ones $(AFTER)"

kd3d_core/data/kd3d-tiny.kd3d: runs/multi_student_more_near/model.ckpt
	$(KD3D) export $< $@ --name kd3d-tiny $(CALIBRATE) \
		--data "12,344 simulated sweeps of 15 named LiDARs and 2,618 drawn ones $(AFTER)"

kd3d_core/data/kd3d-tiny-int8.kd3d: kd3d_core/data/kd3d-tiny.kd3d
	$(KD3D) compile $< --precision fp32 --precision int8 --data data/multi/val --frames 384 \
		--calibration data/multi/near --thresholds data/multi/unseen --out runs/compiled
	cp runs/compiled/$(@F) $@
