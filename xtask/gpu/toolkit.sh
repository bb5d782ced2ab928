# To be sourced at the root of the repository: nvcc and headers of the CUDA toolkit 13.0 from PyPI's packages, in $1, and libraries to
# link against. nvcc, nvvm and crt are pinned to one version: pip mixes them, and the PTX of a newer nvvm is refused by driver 580.
# Sets CUDA_HOME and what candle and cudarc read.
_venv=$1/venv
mkdir -p "$1"
[ -x "$_venv/bin/pip" ] || python3 -m venv "$_venv"
"$_venv/bin/pip" install --quiet nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
CUDA_HOME=$(echo "$PWD/$_venv"/lib/python3.*/site-packages/nvidia/cu13)
[ -x "$CUDA_HOME/bin/nvcc" ] || { echo "error: the packages have no nvcc at $CUDA_HOME/bin"; exit 1; }
# 80 gives PTX that every GPU since Ampere compiles for itself. 13000 is the interface of driver 580; a symbol of a newer one would keep
# the program from starting there.
export CUDA_HOME CUDA_PATH=$CUDA_HOME NVCC=$CUDA_HOME/bin/nvcc PATH=$CUDA_HOME/bin:$PATH
export CUDA_COMPUTE_CAP=80 CUDARC_CUDA_VERSION=13000
