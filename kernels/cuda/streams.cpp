#include "kernels/cuda/streams.h"

#include <stdexcept>
#include <string>

#include "kernels/cuda/cuda_device.h"

namespace ringside {

CudaStreams streams_of(Device& device) {
  if (device.name() != "cuda") {
    throw std::invalid_argument("streams_of: " + std::string(device.name()) + " is no CUDA device");
  }
  const auto& cuda = static_cast<const CudaDevice&>(device);
  return {cuda.ordinal_, cuda.streams_->compute.get(), cuda.streams_->communication.get()};
}

}  // namespace ringside
