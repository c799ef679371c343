# Finds the packages that Ringside is built from. The harness finds what it alone uses; the fuzz targets need
# no more than the first four.
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_path(LIBCSV_INCLUDE_DIR csv.h REQUIRED)
find_library(LIBCSV_LIBRARY csv REQUIRED)
if(RINGSIDE_FUZZ)
  return()
endif()
find_package(Threads REQUIRED)
if(RINGSIDE_MPI)
  find_package(MPI REQUIRED COMPONENTS CXX)
endif()
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(Boost CONFIG REQUIRED COMPONENTS context)  # the emulated GPU's threads; the gate's distributions are headers

# libxsmm makes the CPU's tile products on x86; elsewhere Eigen does. Its pkg-config file prints a link order that
# fails, hence the libraries by hand.
find_path(LIBXSMM_INCLUDE_DIR libxsmm.h)
find_library(LIBXSMM_LIBRARY xsmm)
find_library(LIBXSMM_NOBLAS_LIBRARY xsmmnoblas)
if(LIBXSMM_INCLUDE_DIR AND LIBXSMM_LIBRARY AND LIBXSMM_NOBLAS_LIBRARY AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(RINGSIDE_HAVE_LIBXSMM ON)
endif()

if(RINGSIDE_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
if(RINGSIDE_BUILD_BENCHMARKS)
  find_package(benchmark REQUIRED)
endif()
