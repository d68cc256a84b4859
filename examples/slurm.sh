#!/usr/bin/env bash
# 16 GPUs on two nodes. Two minutes before the time limit the processes get SIGUSR1, save and stop;
# then the job goes back to the queue, and continues when its turn comes.
#SBATCH --job-name=mask-rcnn
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=5
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
CONFIG=configs/mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py

export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 \
    "${PYTHON:-python}" -u tools/train.py "$CONFIG" \
    --launcher slurm --work-dir work_dirs/mask-rcnn --resume if-any
status=$?

# 128 + SIGUSR1 (10) or SIGTERM (15): stopped, not failed.
if [ "$status" -eq 138 ] || [ "$status" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
